-- Who may do what: tables are read and written with the caller's own rights.
SET ROLE regress_app;
SELECT min(s.id) AS segment, min(s.run_id) AS run
FROM speaker.segments AS s JOIN speaker.runs AS u ON u.id = s.run_id JOIN speaker.recordings AS r ON r.id = u.recording_id
WHERE r.external_id = 'interview' \gset

-- A writer works through the functions and through the tables, but not on what triggers and history keep,
UPDATE speaker.recordings SET metadata = '{"project": "a"}' WHERE external_id = 'interview';
SELECT attempt('DELETE FROM speaker.speaker_centroids');
SELECT attempt($$ UPDATE speaker.assignments SET speaker = 'someone else' $$);
-- nor on models and rights.
SELECT attempt($$ SELECT register_model('ge2e') $$);
SELECT attempt($$ INSERT INTO speaker.models (name) VALUES ('mine') $$);
SELECT attempt('SELECT rebuild_speaker_centroids()');
SELECT attempt($$ SELECT speaker.grant_access('regress_stranger') $$);

-- A reader sees everything, also what an identification would say,
SET ROLE regress_reader;
SELECT count(*) > 0 AS transcript FROM speaker.transcript;
SELECT count(*) > 0 AS embeddings FROM speaker.speaker_embeddings;
SELECT count(*) AS nearest FROM speaker.embeddings AS e, speaker_knn(e.embedding, 1) WHERE e.segment_id = :segment;
SELECT count(*) AS answers FROM identify_speakers(:run, assign => false);
-- and changes nothing.
SELECT attempt(format('SELECT label_segment(%s, %L)', :segment, 'Mallory'));
SELECT attempt(format('SELECT unlabel_segment(%s)', :segment));
SELECT attempt($$ SELECT rename_speaker('Ann', 'Mallory') $$);
SELECT attempt($$ SELECT enroll_speaker('Mallory', audio('awb')) $$);
SELECT attempt($$ SELECT ingest_recording('more', NULL, '[]') $$);
SELECT attempt(format('SELECT embed_run(%s)', :run));
SELECT attempt(format('SELECT cluster_unlabeled(%s)', :run));
SELECT attempt('DELETE FROM speaker.recordings');
SELECT attempt('TRUNCATE speaker.embeddings');

-- A stranger has no access to the tables. What needs none works: audio in, embedding out.
RESET ROLE;
SELECT audio AS clip FROM files WHERE name = 'wav' \gset
SET ROLE regress_stranger;
SELECT vector_dims(extract_speaker_embedding(:'clip'));
SELECT attempt('SELECT count(*) FROM speaker.segments');
SELECT attempt('SELECT count(*) FROM speaker.transcript');
SELECT attempt('SELECT speaker.embed_run(1)');
SELECT attempt($$ SELECT speaker.label_segment(1, 'Mallory') $$);
