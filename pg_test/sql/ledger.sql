-- What is due, what is tried again, and what is not; wherever the audio is.
SET client_min_messages = warning; -- a backfill tells its progress in notices, with times
SET ROLE regress_app;
SELECT count(*) > 40 AS codes, count(*) = count(DISTINCT code) AS distinct_codes,
       bool_and(sqlstate ~ '^[0-9A-Z]{5}$' AND meaning <> '' AND troubleshooting <> '' AND recovery <> '') AS complete
FROM speaker.error_codes;
SELECT sqlstate, permanent, recovery FROM speaker.error_codes WHERE code = 'speech_too_short';

-- A legacy recording: stored and cut into segments long before anybody embeds it.
INSERT INTO speaker.recordings (external_id, audio) SELECT 'old', audio FROM files WHERE name = 'meeting';
SELECT container, codec, sample_rate, channels, duration_s, sha256 = sha256(audio) AS hashed FROM speaker.recordings WHERE external_id = 'old';
SELECT add_run('old', segments) AS run FROM documents WHERE name = 'meeting' \gset
CALL backfill_embeddings(recording => 'old', dry_run => true);
CALL backfill_embeddings(batch_size => 10, recording => 'old');
CALL backfill_embeddings(recording => 'old');
SELECT status, count(*), sum(attempts) AS attempts FROM speaker.embedding_jobs JOIN speaker.segments ON id = segment_id WHERE run_id = :run GROUP BY status;
SELECT total >= 24 AS total, remaining, running, dead FROM speaker.backfill_progress;
BEGIN;
CALL backfill_embeddings();
ROLLBACK;

-- The delta rule: other bounds or other audio are due, a label or the same audio is not.
SELECT min(id) AS segment FROM speaker.segments WHERE run_id = :run \gset
CREATE VIEW state AS
SELECT s.id AS segment_id, j.status, j.error_code, j.attempts, e.embedding IS NOT NULL AS embedded
FROM speaker.segments AS s LEFT JOIN speaker.embedding_jobs AS j ON j.segment_id = s.id
LEFT JOIN speaker.embeddings AS e ON e.segment_id = s.id;
SELECT label_segment(:segment, 'Ann');
SELECT count(*) FROM embed_due();
UPDATE speaker.segments SET end_time = end_time - 0.5 WHERE id = :segment;
SELECT status, attempts, embedded FROM state WHERE segment_id = :segment;
SELECT n FROM speaker.speaker_centroids; -- none: the embedding is gone from it too
SELECT status, error_code FROM embed_due();
SELECT n FROM speaker.speaker_centroids;
UPDATE speaker.recordings SET audio = audio WHERE external_id = 'old';
SELECT count(*) FROM embed_due();
UPDATE speaker.recordings SET audio = (SELECT audio FROM files WHERE name = 'interview') WHERE external_id = 'old';
SELECT status, embedded, count(*) FROM state JOIN speaker.segments ON id = segment_id WHERE run_id = :run GROUP BY status, embedded;
SELECT status, count(*) FROM embed_due(5) GROUP BY status;
-- Audio that is taken away takes nothing along; audio that comes back as it was is not embedded again.
CALL backfill_embeddings();
UPDATE speaker.recordings SET audio = NULL WHERE external_id = 'old';
SELECT count(*) FROM embed_due();
UPDATE speaker.recordings SET audio = (SELECT audio FROM files WHERE name = 'interview') WHERE external_id = 'old';
SELECT count(*) FROM embed_due();
SELECT count(*) AS embedded FROM state JOIN speaker.segments ON id = segment_id WHERE run_id = :run AND embedded;
DELETE FROM speaker.segments WHERE id = :segment;
SELECT count(*) AS orphans FROM speaker.embedding_jobs FULL JOIN speaker.embeddings USING (segment_id) WHERE segment_id = :segment;

-- What fails for now is tried again, later each time, and at last not any more.
INSERT INTO speaker.recordings (external_id, audio) SELECT 'large', audio FROM files WHERE name = 'meeting';
RESET ROLE;
SET speaker.max_audio_bytes = '100kB';
SET ROLE regress_app;
SET speaker.max_attempts = 2;
SET speaker.retry_delay = '1h';
SELECT attempt($$ INSERT INTO speaker.recordings (external_id, audio) SELECT 'larger', audio FROM files WHERE name = 'meeting' $$);
SELECT add_run('large', '[{"start": 0, "end": 4}]') AS large \gset
SELECT status, error_code, error FROM embed_run(:large);
SELECT count(*) FROM embed_due();
SELECT status, attempts, next_attempt_at - processed_at BETWEEN '59 min' AND '61 min' AS in_an_hour, troubleshooting, recovery
FROM speaker.embedding_failures WHERE recording = 'large';
SELECT status FROM embed_run(:large);
SELECT status, attempts, next_attempt_at FROM speaker.embedding_failures WHERE recording = 'large';
SELECT count(*) FROM embed_run(:large);
RESET ROLE;
RESET speaker.max_audio_bytes;
SET ROLE regress_app;
SELECT retry_embeddings('audio_too_large');
SELECT status FROM embed_due();
-- A rejected segment is as good as another threshold.
SELECT add_run('large', '[{"start": 0, "end": 0.5}]') AS short \gset
SELECT status, error_code FROM embed_run(:short);
SET speaker.min_speech = 0.1;
SELECT retry_embeddings(run_id => :short);
SELECT status, error_code FROM embed_due();
RESET speaker.min_speech;
RESET speaker.max_attempts;

-- A large object.
SELECT lo_from_bytea(0, audio) AS lo FROM files WHERE name = 'awb' \gset
INSERT INTO speaker.recordings (external_id, audio_lo) VALUES ('lo', :lo);
SELECT codec, round(duration_s::numeric, 2) AS duration_s FROM speaker.recordings WHERE external_id = 'lo';
SELECT add_run('lo', '[{"start": 0, "end": 3}]') AS run \gset
SELECT segment_id AS segment, status FROM embed_run(:run) \gset
SELECT round((e.embedding <=> extract_speaker_embedding(f.audio, 0, 3))::numeric, 6) AS distance
FROM speaker.embeddings AS e, files AS f WHERE e.segment_id = :segment AND f.name = 'awb';
SELECT (i).codec, (i).duration_s FROM (SELECT audio_info(segment_clip(:segment)) AS i) AS x;
SELECT refresh_recording('lo');
SELECT lo_put(:lo, 0, audio) FROM files WHERE name = 'rms';
SELECT refresh_recording('lo');
SELECT status, embedded FROM state WHERE segment_id = :segment;
SELECT status FROM embed_run(:run);
SELECT lo_unlink(:lo);
UPDATE speaker.segments SET end_time = 2.9 WHERE id = :segment;
SELECT status, error_code, error LIKE 'large object % does not exist' AS error FROM embed_run(:run);
SELECT attempt(format('INSERT INTO speaker.recordings (external_id, audio_lo) VALUES (%L, 1)', 'nowhere'));
SELECT attempt($$ INSERT INTO speaker.recordings (external_id, audio, audio_lo) VALUES ('both', '', 1) $$);

-- What a session says of its claim is how an attempt ended, and nothing else.
INSERT INTO speaker.embedding_claims (model_id, step, segments) VALUES (1, 'embed', '{}') RETURNING lease \gset
SELECT attempt(format('UPDATE speaker.embedding_claims SET outcomes = ARRAY[(1, NULL, NULL, NULL, NULL, %L, NULL, NULL)::speaker.outcome] WHERE lease = %s', 'pending', :lease));
DELETE FROM speaker.embedding_claims WHERE lease = :lease;

-- A file of the server: for those who may read its files, by an absolute path, inside the folder that is set.
RESET ROLE;
SELECT current_setting('data_directory') || '/regress_awb.flac' AS path \gset
SELECT lo_from_bytea(0, audio) AS lo FROM files WHERE name = 'awb' \gset
SELECT lo_export(:lo, :'path');
INSERT INTO speaker.recordings (external_id, audio_path) VALUES ('file', :'path');
SELECT codec, round(duration_s::numeric, 2) AS duration_s FROM speaker.recordings WHERE external_id = 'file';
SELECT add_run('file', '[{"start": 0, "end": 3}]') AS run \gset
SET ROLE regress_app;
SELECT status, error_code, error FROM embed_run(:run);
SELECT attempt(format('INSERT INTO speaker.recordings (external_id, audio_path) VALUES (%L, %L)', 'mine', :'path'));
SELECT attempt(format('UPDATE speaker.recordings SET audio_path = %L, audio = NULL WHERE external_id = %L', :'path', 'old'));
RESET ROLE;
GRANT pg_read_server_files TO regress_app;
SET ROLE regress_app;
SELECT segment_id AS segment, status FROM embed_run(:run) \gset
\echo :status
SELECT round((e.embedding <=> extract_speaker_embedding(f.audio, 0, 3))::numeric, 6) AS distance
FROM speaker.embeddings AS e, files AS f WHERE e.segment_id = :segment AND f.name = 'awb';
SELECT attempt($$ INSERT INTO speaker.recordings (external_id, audio_path) VALUES ('relative', 'a.flac') $$);
SELECT attempt($$ INSERT INTO speaker.recordings (external_id, audio_path) VALUES ('device', '/dev/zero') $$);
SELECT attempt($$ INSERT INTO speaker.recordings (external_id, audio_path) VALUES ('gone', '/nowhere/a.flac') $$);
RESET ROLE;
SET speaker.audio_dir = '/usr';
SELECT attempt(format('INSERT INTO speaker.recordings (external_id, audio_path) VALUES (%L, %L)', 'outside', :'path'));
SELECT attempt(format('INSERT INTO speaker.recordings (external_id, audio_path) VALUES (%L, %L)', 'dots', '/usr/..' || :'path'));
RESET speaker.audio_dir;
SET ROLE regress_app;
SELECT attempt($$ SET speaker.audio_dir = '/' $$);
RESET ROLE;
REVOKE pg_read_server_files FROM regress_app;
SELECT lo_unlink(:lo);

DELETE FROM speaker.recordings WHERE external_id IN ('old', 'large', 'lo', 'file');
DELETE FROM speaker.speakers WHERE name = 'Ann';
DROP VIEW state;
