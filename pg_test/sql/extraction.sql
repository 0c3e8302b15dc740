-- Audio to embeddings.
SET ROLE regress_app;
SELECT extract_speaker_embedding(NULL) IS NULL AS no_audio;
SELECT vector_dims(e), round(vector_norm(e)::numeric, 6) AS norm
FROM files, extract_speaker_embedding(audio, 0, 4) AS e WHERE name = 'meeting';

-- One by one or together: the same bits.
SELECT x.ordinal, CASE WHEN x.error IS NULL
            THEN x.embedding = extract_speaker_embedding(f.audio, s.starts[x.ordinal], s.ends[x.ordinal]) END AS same,
       round(x.speech_s::numeric, 2) AS speech_s, x.error_code, x.error, x.permanent
FROM files AS f,
     (VALUES (ARRAY[9.3, 0, 5, NULL, 200, 20], ARRAY[13.7, 4, 4, 3, 201, 20.1])) AS s (starts, ends),
     extract_speaker_embeddings(f.audio, s.starts, s.ends) AS x
WHERE f.name = 'meeting' ORDER BY 1;

-- Nor does it matter what else is asked, or in which order.
SELECT count(*) AS same
FROM extract_speaker_embeddings(audio('interview'), '{40, 0, NULL}', '{45, 3.6, 3.6}') AS a
JOIN extract_speaker_embeddings(audio('interview'), '{NULL, 0, 40}', '{3.6, 3.6, 45}') AS b
  ON (a.ordinal, a.embedding) = (4 - b.ordinal, b.embedding);
SELECT count(*) AS of_no_segments FROM extract_speaker_embeddings(audio('awb'), '{}', '{}');
SELECT count(*) AS of_no_audio FROM extract_speaker_embeddings(NULL, '{0}', '{1}');

-- Without bounds: the whole file, from its start, to its end. Rounded times run a little over, and do no harm.
SELECT extract_speaker_embedding(audio) = extract_speaker_embedding(audio, 0, i.duration_s) AS whole,
       extract_speaker_embedding(audio, 3) = extract_speaker_embedding(audio, 3, i.duration_s) AS to_the_end,
       extract_speaker_embedding(audio, end_s => 3) = extract_speaker_embedding(audio, 0, 3) AS from_the_start,
       extract_speaker_embedding(audio, 3, i.duration_s + 0.05) = extract_speaker_embedding(audio, 3) AS a_little_over
FROM files, audio_info(audio) AS i WHERE name = 'awb';

-- Which model: NULL is the default one.
SELECT extract_speaker_embedding(audio, 0, 3, 'ge2e') = extract_speaker_embedding(audio, 0, 3) AS named,
       extract_speaker_embedding(audio, 0, 3, NULL) = extract_speaker_embedding(audio, 0, 3) AS of_null
FROM files WHERE name = 'awb';
SET speaker.default_model = 'nosuch';
SELECT attempt($$ SELECT extract_speaker_embedding(audio('awb')) $$);
SELECT vector_dims(extract_speaker_embedding(audio('awb'), model => 'ge2e'));
RESET speaker.default_model;

-- How much speech is enough is a setting.
SELECT attempt($$ SELECT extract_speaker_embedding(audio('awb'), 0, 0.5) $$);
SET speaker.min_speech = 0.3;
SELECT vector_dims(extract_speaker_embedding(audio('awb'), 0, 0.5));
SET speaker.min_speech = 6;
SELECT attempt($$ SELECT extract_speaker_embedding(audio('awb'), 0, 5) $$);
RESET speaker.min_speech;

-- Another container of the same samples: the same voice.
SELECT round(speaker_similarity(extract_speaker_embedding(a.audio, 0, 4), extract_speaker_embedding(b.audio))::numeric, 4)
FROM files AS a, files AS b WHERE (a.name, b.name) = ('meeting', 'wav');

SELECT v.same_speaker, round(v.similarity::numeric, 1) AS similarity, v.threshold
FROM files AS a, files AS b, verify_speakers(a.audio, b.audio, 'ge2e') AS v WHERE (a.name, b.name) = ('wav', 'awb');

-- All turns of the meeting: those of one voice are alike, those of two are not.
CREATE TEMPORARY TABLE turns AS
SELECT t.*, e.embedding
FROM files AS f JOIN documents USING (name),
     LATERAL (SELECT array_agg((s->>'start')::float8 ORDER BY n) AS starts, array_agg((s->>'end')::float8 ORDER BY n) AS ends,
                     array_agg(s->>'speaker' ORDER BY n) AS voices
              FROM jsonb_array_elements(segments::jsonb) WITH ORDINALITY AS a (s, n)) AS l,
     extract_speaker_embeddings(audio, starts, ends) AS e, LATERAL (SELECT e.ordinal, voices[e.ordinal] AS voice) AS t
WHERE name = 'meeting';
SELECT a.voice = b.voice AS one_voice, count(*), bool_and(s > 0.8) AS alike, bool_and(s < 0.8) AS apart
FROM turns AS a JOIN turns AS b ON a.ordinal < b.ordinal, speaker_similarity(a.embedding, b.embedding) AS s
GROUP BY 1 ORDER BY 1;

-- A header that promises 37 hours over 4 seconds is a stream's.
SELECT round(duration_s::numeric, 2) AS duration_s
FROM files, audio_info(overlay(overlay(audio PLACING '\xffffffff' FROM 5) PLACING '\xffffffff' FROM 41)) WHERE name = 'wav';
