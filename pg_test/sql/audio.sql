-- What a file is, and a stretch of it to listen to.
SET ROLE regress_app;
SELECT count(*) AS of_null FROM audio_info(NULL);

-- A clip is a WAV file of its own.
CREATE TEMPORARY TABLE clips AS
SELECT n, bounds, audio_clip(audio('meeting'), bounds[1], bounds[2]) AS audio
FROM (VALUES (1, ARRAY[4.511, 8.665]), (2, '{0,1}'), (3, '{100,NULL}'), (4, '{NULL,2.5}')) AS b (n, bounds);
SELECT c.bounds, octet_length(c.audio) AS bytes, i.container, i.codec, i.sample_rate, i.channels,
       round(i.duration_s::numeric, 3) AS duration_s
FROM clips AS c, audio_info(c.audio) AS i ORDER BY c.n;

-- Round trip: 16 kHz, mono, 16 bits come back bit for bit; so do a clip of a clip, and two neighbours put together.
SELECT audio_clip(audio, NULL, NULL) = audio AS whole,
       audio_clip(audio_clip(audio, 1, 3), 0.5, 1) = audio_clip(audio, 1.5, 2) AS clip_of_clip,
       substring(audio_clip(audio, 0, 1.25) FROM 45) || substring(audio_clip(audio, 1.25, 2) FROM 45)
           = substring(audio_clip(audio, 0, 2) FROM 45) AS no_gap
FROM clips WHERE n = 1;
-- The voice in the clip is the voice in the recording.
SELECT round(speaker_similarity(extract_speaker_embedding(audio),
                                extract_speaker_embedding(audio('meeting'), 4.511, 8.665))::numeric, 4) AS similarity
FROM clips WHERE n = 1;

SELECT audio_clip(NULL, 0, 1) IS NULL AS of_null;
SELECT attempt($$ SELECT audio_clip('', 0, 1) $$);
SELECT attempt($$ SELECT audio_clip(audio('awb'), 2, 1) $$);
SELECT attempt($$ SELECT audio_clip(audio('awb'), 2, 9) $$);
SELECT attempt($$ SELECT audio_clip(audio('awb'), 'NaN', 9) $$);

-- A recorder that writes into a pipe cannot know the length: its header says 0xFFFFFFFF, or 0, and means the rest.
SELECT length, round(i.duration_s::numeric, 3) AS duration_s,
       speaker_similarity(extract_speaker_embedding(piped), extract_speaker_embedding(audio)) > 0.9999 AS same_voice
FROM files, (VALUES ('\xffffffff'::bytea), ('\x00000000')) AS l (length),
     LATERAL (SELECT overlay(overlay(audio PLACING length FROM 5) PLACING length FROM 41) AS piped) AS p, audio_info(piped) AS i
WHERE name = 'wav' ORDER BY 1;
