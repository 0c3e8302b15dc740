-- Recordings and segments go in; every segment has an outcome.
SET ROLE regress_app;
SELECT status, count(*), count(DISTINCT external_id) AS ids
FROM files JOIN documents USING (name), ingest_recording(name, audio, segments) WHERE name = 'meeting' GROUP BY status;
SELECT count(*) AS segments, count(speaker_id) AS known, min(speaker_label) AS first, max(speaker_label) AS last FROM speaker.segments;
SELECT external_id, speaker_id, speaker_label, video_id, vector_dims(embedding), start_time < end_time AS forward
FROM speaker.speaker_embeddings ORDER BY start_time LIMIT 2;

-- The same content is a no-op, in any layout; other content is an error.
SELECT count(*), max(segment_id) - min(segment_id) AS span
FROM files JOIN documents USING (name), ingest_recording(name, audio, jsonb_pretty(segments::jsonb)::jsonb) WHERE name = 'meeting';
SELECT count(*) AS recordings, (SELECT count(*) FROM speaker.runs) AS runs, (SELECT sum(attempts) FROM speaker.embedding_jobs) AS attempts
FROM speaker.recordings;
SELECT attempt($$ SELECT ingest_recording('meeting', audio, segments) FROM files, documents WHERE (files.name, documents.name) = ('interview', 'meeting') $$) AS other_audio;
SELECT attempt($$ SELECT ingest_recording('meeting', audio, '[{"start": 1, "end": 2}]') FROM files WHERE name = 'meeting' $$) AS other_segments;

-- Whisper: no speakers, a segment without length, one that runs past the end, one that starts there.
SELECT external_id, status, error FROM files, ingest_recording('whisper', audio, '{"language": "en", "segments": [
    {"id": 0, "start": 0.0, "end": 3.9, "text": " Good morning everyone."},
    {"id": 1, "start": 3.9, "end": 3.9, "text": ""},
    {"id": 2, "start": 0.2, "end": 9.5, "text": " Let us start."},
    {"id": 3, "start": 7.0, "end": 9.5, "text": " Thank you."},
    {"id": 4, "start": 3.8, "end": 3.9, "text": " Mm."}]}', 'whisper') WHERE name = 'wav';
SELECT s.external_id, s.start_time, s.end_time, s.speaker_label, s.text, s.confidence, s.rejected
FROM speaker.segments AS s JOIN speaker.runs AS u ON u.id = s.run_id WHERE u.segment_source = 'whisper' ORDER BY s.source_index;
SELECT external_id, status, error_code, attempts FROM speaker.embedding_failures WHERE recording = 'whisper' ORDER BY external_id;

-- Up front or later, and where the audio is kept elsewhere.
SELECT external_id, status FROM files, ingest_recording('later', audio, '[{"start": 0, "end": 4}]', embed => false) WHERE name = 'wav';
SELECT e.status, e.error_code FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id, embed_run(u.id) AS e WHERE r.external_id = 'later';
SELECT count(*) AS due FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id, embed_run(u.id) AS e WHERE r.external_id = 'later';
SELECT external_id, status, error ~ 'has no audio' AS told FROM ingest_recording('elsewhere', NULL, '[{"start": 0, "end": 4}]');

-- RTTM, and a second diarization of the same recording.
SELECT status, count(*) FROM files JOIN documents USING (name), ingest_recording(name, audio, segments) WHERE name = 'interview' GROUP BY status;
SELECT add_run('later', '[{"start": 1, "end": 3.5, "speaker": "SPEAKER_01"}]') > 0 AS added;
SELECT attempt($$ SELECT add_run('nowhere', '[]') $$);

-- Real output of a transcriber: every segment is of UNKNOWN, and keeps its text.
SELECT status, count(*) FROM files, documents, ingest_recording('talk', audio, segments, 'whisper', parameters => '{"model": "small.en"}')
WHERE (files.name, documents.name) = ('interview', 'interview.whisper') GROUP BY status;
SELECT u.segment_source, u.parameters, s.speaker_label, count(*), count(s.speaker_id) AS known, left(string_agg(s.text, '' ORDER BY s.start_time), 24) AS text
FROM speaker.segments AS s JOIN speaker.runs AS u ON u.id = s.run_id JOIN speaker.recordings AS r ON r.id = u.recording_id
WHERE r.external_id = 'talk' GROUP BY 1, 2, 3;

-- What failed for want of audio works once it is there; what changed is embedded again; what did not is left alone.
SELECT u.id AS run, r.id AS recording FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id
WHERE r.external_id = 'elsewhere' \gset
UPDATE speaker.recordings SET audio = audio('wav') WHERE id = :recording;
SELECT status, error_code FROM embed_run(:run);
SELECT count(*) AS due FROM embed_run(:run);
UPDATE speaker.segments SET end_time = 2.5 WHERE run_id = :run;
SELECT status, error_code FROM embed_run(:run);
UPDATE speaker.recordings SET audio = audio('silence') WHERE id = :recording;
SELECT status, error_code, error FROM embed_run(:run);
SELECT count(*) AS stale FROM speaker.embeddings AS e JOIN speaker.segments AS s ON s.id = e.segment_id WHERE s.run_id = :run;
SELECT count(*) AS due FROM embed_run(:run);
SELECT status, attempts FROM speaker.embedding_jobs AS j JOIN speaker.segments AS s ON s.id = j.segment_id WHERE s.run_id = :run;
-- Segments can follow. A diarizer's rounding before the start is cut off, and what that leaves empty is rejected.
CREATE TEMPORARY TABLE late AS SELECT * FROM add_segments(:run, '[{"id": "early", "start": -0.5, "end": 1, "speaker": "SPEAKER_02"},
    {"id": "before", "start": -2, "end": -1}]'::jsonb);
SELECT s.external_id, s.start_time, s.end_time, s.speaker_label, s.rejected FROM late JOIN speaker.segments AS s ON s.id = segment_id ORDER BY s.source_index;
DELETE FROM speaker.recordings WHERE external_id IN ('elsewhere', 'talk');

-- A reader reads.
SET ROLE regress_reader;
SELECT count(*), min(id) AS segment FROM speaker.segments \gset
SELECT attempt(format('SELECT label_segment(%s, %L)', :segment, 'Ann'));
