-- The view speaker_embeddings as applications write it, and models whose vectors are computed elsewhere.
SET ROLE regress_app;
SET speaker.collection = 'view';
CREATE FUNCTION direction(place int) RETURNS vector LANGUAGE sql AS
$$ SELECT array_agg(CASE WHEN i = place THEN 1 ELSE 0.01 END ORDER BY i)::real[]::vector FROM generate_series(1, 256) AS i $$;
INSERT INTO speaker_embeddings (external_id, embedding, video_id, speaker_label, start_time, end_time) VALUES
    ('a', direction(1), 'film', 'SPEAKER_00', 0, 2), ('b', direction(2), 'film', 'SPEAKER_01', 2, 4), ('c', NULL, 'film', NULL, 4, 6);
INSERT INTO speaker_embeddings (external_id, embedding, video_id, speaker_id, start_time, end_time) VALUES ('d', direction(1), 'other film', 'Ann', 0, 2)
RETURNING external_id, speaker_id, video_id, vector_dims(embedding), segment_id > 0 AS made, collection;
UPDATE speaker_embeddings SET speaker_id = 'Ben' WHERE external_id = 'b';
SELECT external_id, speaker_id, video_id, embedding IS NOT NULL AS embedded FROM speaker_embeddings ORDER BY external_id;
SELECT s.external_id, j.status, s.label_source, s.label_confirmed
FROM segments AS s JOIN embedding_jobs AS j ON j.segment_id = s.id WHERE s.collection = 'view' ORDER BY 1;
SELECT speaker, n FROM speaker_centroids AS c JOIN speakers AS p ON p.id = c.speaker_id, LATERAL (SELECT p.name AS speaker) AS x WHERE c.collection = 'view' ORDER BY 1;
UPDATE speaker_embeddings SET speaker_id = NULL, embedding = direction(3) WHERE external_id = 'b';
DELETE FROM speaker_embeddings WHERE external_id = 'a';
SELECT external_id, speaker_id, (embedding <=> direction(3))::numeric(3, 2) AS distance FROM speaker_embeddings ORDER BY external_id;
-- The same again is nothing new, other content is an error, and what is the store's stays the store's.
INSERT INTO speaker_embeddings (external_id, video_id, start_time, end_time) VALUES ('c', 'film', 4, 6);
SELECT attempt($$ INSERT INTO speaker.speaker_embeddings (external_id, video_id, start_time, end_time) VALUES ('c', 'film', 4, 7) $$);
SELECT attempt($$ UPDATE speaker.speaker_embeddings SET video_id = 'elsewhere' WHERE external_id = 'c' $$);
SELECT attempt($$ INSERT INTO speaker.speaker_embeddings (external_id, start_time, end_time) VALUES ('e', 4, 7) $$);
-- Namesakes of two collections are not mixed.
SET speaker.collection = 'view2';
SELECT count(*) FROM speaker_embeddings;
SELECT add_speaker_embedding('Ann', direction(9)) > 0 AS added;
SELECT speaker_id, count(*) FROM speaker_embeddings GROUP BY 1;
-- Vectors of a model that is not here.
RESET ROLE;
SELECT speaker.register_external_model('titanet', '1.0', 3, 0.6) > 1 AS registered;
SELECT name, version, dim, utterance_threshold, speaker_threshold, sha256 IS NULL AS external FROM speaker.models WHERE name = 'titanet';
SET speaker.collection = 'external';
INSERT INTO speaker.recordings (collection, external_id) VALUES ('external', 'call');
SELECT add_run('call', '[{"start": 0, "end": 2}, {"start": 2, "end": 4}]') AS run \gset
SELECT count(add_segment_embedding(id, CASE source_index WHEN 0 THEN '[1,0,0]' ELSE '[0.9,0.1,0]' END::vector, model => 'titanet'))
FROM segments WHERE run_id = :run;
SELECT j.status, count(*) FROM embedding_jobs AS j JOIN models AS m ON m.id = j.model_id WHERE m.name = 'titanet' GROUP BY 1;
SELECT label_segment(min(id), 'Zoe', model => 'titanet') FROM segments WHERE run_id = :run;
SELECT speaker, similarity::numeric(4, 2) FROM identify_speakers(recording => 'call', model => 'titanet');
SELECT attempt(format('SELECT embed_run(%s, model => %L)', :run, 'titanet'));
SELECT attempt($$ SELECT embed_due(10, model => 'titanet') $$);
-- NULL where something is asked for.
SELECT attempt($$ SELECT * FROM nearest_segments(NULL) $$);
SELECT attempt($$ SELECT * FROM speaker_knn(NULL) $$);
SELECT attempt($$ SELECT * FROM cluster_unlabeled((SELECT id FROM speaker.runs WHERE false)) $$);
SELECT attempt($$ SELECT * FROM identify_speakers((SELECT id FROM speaker.runs WHERE false)) $$);
SELECT attempt($$ SELECT * FROM embed_run(NULL) $$);
SELECT attempt($$ SELECT * FROM confirm_labels() $$);
SELECT attempt($$ SELECT * FROM cluster_unlabeled(recording => 'nowhere') $$);
SELECT attempt($$ SELECT * FROM undo_labels(-1) $$);
DELETE FROM speaker.recordings WHERE collection IN ('view', 'view2', 'external');
DELETE FROM speaker.speakers WHERE collection IN ('view', 'view2', 'external');
