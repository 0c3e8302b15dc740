-- Segments as tools write them: overlap, channels, flaws, and the same content again.
SET ROLE regress_app;
SET speaker.collection = 'overlap';
SELECT external_id, status, error FROM files, ingest_recording('talk', audio, '[
    {"id": "long", "start": 0, "end": 6, "speaker": "A"}, {"id": "inside", "start": 1.5, "end": 3, "speaker": "B"},
    {"id": "after", "start": 5, "end": 9, "speaker": "B"}, {"id": "short", "start": 8.9, "end": 10, "speaker": "C"},
    {"id": "nobody", "start": 2, "end": 5}, {"id": "no end", "start": 2}, {"id": "backwards", "start": 3, "end": 2},
    {"id": "milliseconds", "start": 4100, "end": 7600, "speaker": "A"}, {"id": "left", "start": 12, "end": 14, "channel": 1, "speaker": "A"},
    {"id": "right", "start": 12, "end": 14, "channel": 2, "speaker": "B"}, {"id": "channel 0", "start": 0, "end": 1, "channel": 0}]')
WHERE name = 'meeting';
SELECT s.external_id, s.channel, j.error_code, round(e.overlapped_s::numeric, 2) AS overlapped_s, e.speech_s <= s.end_time - s.start_time - e.overlapped_s + 0.1 AS used
FROM segments AS s JOIN embedding_jobs AS j ON j.segment_id = s.id LEFT JOIN embeddings AS e ON e.segment_id = s.id
WHERE s.collection = 'overlap' ORDER BY s.source_index;
-- Other bounds or another channel make a segment due, and what it was rejected for is of the past.
UPDATE segments SET channel = NULL WHERE external_id = 'right' AND collection = 'overlap';
UPDATE segments SET start_time = 20, end_time = 23 WHERE external_id = 'no end' AND collection = 'overlap';
UPDATE segments SET channel = 1 WHERE external_id = 'left' AND collection = 'overlap';
SELECT s.external_id, x.status, x.error FROM embed_run(recording => 'talk') AS x JOIN segments AS s ON s.id = x.segment_id ORDER BY s.source_index;
-- The same again is nothing new, as text, json and jsonb.
SELECT add_run('talk', '[{"start": 0, "end": 3}]', 'a tool of ours') AS run \gset
SELECT add_run('talk', '[{"end": 3.0, "start": 0}]'::json, 'a tool of ours') = :run AS json, add_run('talk', '[{"end": 3, "start": 0}]'::jsonb, 'a tool of ours') = :run AS jsonb,
       add_run('talk', '[{"start": 0, "end": 3}]', 'another tool') = :run AS of_another_tool;
SELECT count(DISTINCT segment_id) FROM (
    SELECT * FROM add_segments(:run, '[{"id": "x", "start": 5, "end": 6}]') UNION ALL SELECT * FROM add_segments(:run, '[{"id": "x", "start": 5, "end": 6}]'::json)
    UNION ALL SELECT * FROM add_segments(:run, '[{"id": "x", "start": 5, "end": 6}]'::jsonb)) AS added;
SELECT attempt(format($$ SELECT add_segments(%s, '[{"id": "x", "start": 5, "end": 7}]') $$, :run)) ~ '^23505.* has another segment "x"' AS differs;
SELECT format, count(*) FROM parse_segments(E'SPEAKER f 1 0 1 <NA> <NA> a <NA> <NA>\nSPEAKER f 2 0 1 <NA> <NA> b <NA> <NA>') GROUP BY 1;
-- Suggestions: shown, not in the mean, confirmed and taken back.
SELECT label_segment((SELECT id FROM segments WHERE external_id = 'long' AND collection = 'overlap'), 'Ann') AS labelled;
SELECT batch_id AS batch FROM identify_speakers(recording => 'talk', threshold => -1) LIMIT 1 \gset
SELECT external_id, label_source, label_confirmed FROM segments WHERE collection = 'overlap' AND speaker_id IS NOT NULL ORDER BY source_index, id;
SELECT n FROM speaker_centroids WHERE collection = 'overlap';
SELECT confirmed FROM confirm_labels(batch => :batch);
SELECT n FROM speaker_centroids WHERE collection = 'overlap';
SELECT undone, left_alone FROM undo_labels((SELECT max(batch_id) FROM assignments WHERE collection = 'overlap'));
SELECT n FROM speaker_centroids WHERE collection = 'overlap';
SELECT undone, left_alone FROM undo_labels(:batch);
SELECT external_id, label_source, label_confirmed FROM segments WHERE collection = 'overlap' AND speaker_id IS NOT NULL ORDER BY source_index, id;
SELECT source, confirmed, count(*) FROM assignments WHERE collection = 'overlap' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT reason ~ '^below the threshold' AS below, count(*) FROM identify_speakers(recording => 'talk', threshold => 1.1, explain => true) GROUP BY 1;
DELETE FROM recordings WHERE collection = 'overlap';
DELETE FROM speakers WHERE collection = 'overlap';
