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

-- Another container of the same samples: the same voice.
SELECT round(speaker_similarity(extract_speaker_embedding(a.audio, 0, 4), extract_speaker_embedding(b.audio))::numeric, 4)
FROM files AS a, files AS b WHERE (a.name, b.name) = ('meeting', 'wav');

SELECT v.same_speaker, round(v.similarity::numeric, 1) AS similarity, v.threshold
FROM files AS a, files AS b, verify_speakers(a.audio, b.audio, 'ge2e') AS v WHERE (a.name, b.name) = ('wav', 'awb');

-- A header that promises 37 hours over 4 seconds is a stream's.
SELECT round(duration_s::numeric, 2) AS duration_s
FROM files, audio_info(overlay(overlay(audio PLACING '\xffffffff' FROM 5) PLACING '\xffffffff' FROM 41)) WHERE name = 'wav';
