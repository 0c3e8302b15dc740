-- 1,000 speakers, and 1,000 runs of 20 segments with embeddings, a third of them known.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION pg_speaker CASCADE;
SELECT create_speaker_store();
SELECT format('ALTER DATABASE %I SET search_path = speaker, public', current_database()) \gexec
SELECT setseed(0.5);
INSERT INTO speaker.speakers (id, name) OVERRIDING SYSTEM VALUE SELECT i, 'Speaker ' || i FROM generate_series(1, 1000) AS i;
INSERT INTO speaker.recordings (id, external_id) OVERRIDING SYSTEM VALUE SELECT i, 'recording ' || i FROM generate_series(1, 1000) AS i;
INSERT INTO speaker.runs (id, recording_id, segment_source, content_hash) OVERRIDING SYSTEM VALUE
SELECT i, i, 'manual', '' FROM generate_series(1, 1000) AS i;
INSERT INTO speaker.segments (id, run_id, start_time, end_time, speaker_id) OVERRIDING SYSTEM VALUE
SELECT i, 1 + (i - 1) / 20, i % 20, i % 20 + 1, CASE WHEN i % 3 = 0 THEN 1 + (i * 7919) % 1000 END FROM generate_series(1, 20000) AS i;
SELECT setval(pg_get_serial_sequence('speaker.' || t, 'id'), 20000) FROM unnest('{speakers,recordings,runs,segments}'::text[]) AS t;
-- Around one of 1,000 directions, so that identification finds someone.
INSERT INTO speaker.embeddings (segment_id, model_id, embedding)
SELECT i, 1, (SELECT array_agg(sin((1 + (i * 7919) % 1000) * (j + 0.37 * j * j)) + random() - 0.5 ORDER BY j)::real[]::vector FROM generate_series(1, 256) AS j)
FROM generate_series(1, 20000) AS i;
CREATE TABLE public.clip AS SELECT audio_clip(decode(:'audio', 'base64'), 0, 2.5) AS audio;
ANALYZE;
