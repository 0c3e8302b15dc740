-- Whatever happens to labels and embeddings, the means are those of the rows.
SET ROLE regress_app;
CREATE TABLE vectors AS SELECT row_number() OVER () AS n, embedding FROM speaker.embeddings;
INSERT INTO speaker.recordings (external_id) VALUES ('random');
INSERT INTO speaker.runs (recording_id, segment_source, content_hash) SELECT id, 'manual', '' FROM speaker.recordings WHERE external_id = 'random';
INSERT INTO speaker.segments (run_id, source_index, start_time, end_time)
SELECT u.id, i, i, i + 1 FROM speaker.runs AS u, generate_series(1, 200) AS i WHERE u.segment_source = 'manual';
INSERT INTO speaker.speakers (name) SELECT 'Random ' || i FROM generate_series(1, 8) AS i;
SELECT setseed(0.25);
DO $$
DECLARE
    run bigint := (SELECT id FROM speaker.runs WHERE segment_source = 'manual');
BEGIN
    FOR i IN 1..400 LOOP
        CASE floor(random() * 5)
        WHEN 0 THEN
            INSERT INTO speaker.embeddings (segment_id, model_id, embedding)
            SELECT s.id, 1, v.embedding FROM speaker.segments AS s, vectors AS v
            WHERE s.run_id = run AND s.source_index % 20 = floor(random() * 20) AND v.n = 1 + i % 30
            ON CONFLICT (segment_id, model_id, collection) DO UPDATE SET embedding = excluded.embedding;
        WHEN 1 THEN
            UPDATE speaker.segments SET speaker_id = (SELECT id FROM speaker.speakers WHERE name = 'Random ' || 1 + i % 8)
            WHERE run_id = run AND source_index % 7 = i % 7;
        WHEN 2 THEN
            UPDATE speaker.segments SET speaker_id = NULL WHERE run_id = run AND source_index % 11 = i % 11;
        WHEN 3 THEN
            DELETE FROM speaker.embeddings AS e USING speaker.segments AS s WHERE s.id = e.segment_id AND s.run_id = run AND s.source_index % 13 = i % 13;
        ELSE
            UPDATE speaker.embeddings SET embedding = (SELECT embedding FROM vectors WHERE n = 1 + i % 30)
            WHERE segment_id IN (SELECT id FROM speaker.segments WHERE run_id = run AND source_index % 17 = i % 17);
        END CASE;
    END LOOP;
END
$$;
CREATE VIEW drift AS
SELECT count(*) FILTER (WHERE c.n IS DISTINCT FROM t.n) AS wrong_counts, max(c.mean <-> t.mean) < 1e-6 AS same_means
FROM speaker.speaker_centroids AS c
FULL JOIN (SELECT s.speaker_id, e.model_id, count(*) AS n, speaker_centroid(e.embedding) AS mean
           FROM speaker.segments AS s JOIN speaker.embeddings AS e ON e.segment_id = s.id
           WHERE s.speaker_id IS NOT NULL AND s.label_confirmed GROUP BY 1, 2) AS t USING (speaker_id, model_id);
SELECT * FROM drift;
SELECT count(*) > 5 AS enough_to_compare FROM speaker.speaker_centroids;

-- Deletes leave no orphan.
DELETE FROM speaker.segments AS s USING speaker.runs AS u WHERE u.id = s.run_id AND u.segment_source = 'manual' AND s.source_index % 3 = 0;
SELECT * FROM drift;
DELETE FROM speaker.speakers WHERE name IN ('Random 1', 'Random 2');
SELECT * FROM drift;
DELETE FROM speaker.recordings WHERE external_id = 'random';
SELECT * FROM drift;
SELECT count(*) AS orphans FROM speaker.speaker_centroids AS c JOIN speaker.speakers AS p ON p.id = c.speaker_id WHERE p.name LIKE 'Random%';
SELECT attempt('SELECT rebuild_speaker_centroids()') AS owner_only;
DROP VIEW drift;
RESET ROLE;
CREATE TEMP TABLE before AS SELECT speaker_id, model_id, n, mean FROM speaker.speaker_centroids;
SELECT rebuild_speaker_centroids() = (SELECT count(*) FROM before) AS same_number;
SELECT count(*) AS differ FROM before AS b FULL JOIN speaker.speaker_centroids AS c USING (speaker_id, model_id) WHERE b.n IS DISTINCT FROM c.n OR (b.mean <-> c.mean) > 1e-6;
