-- Unknown voices, grouped and named.
SET ROLE regress_app;
-- Two directions and an outlier.
SELECT ordinal, cluster, round(probability::numeric, 3) AS probability
FROM hdbscan(ARRAY['[1,0,0]', '[1,0.01,0]', '[1,0,0.01]', '[0,1,0]', '[0.01,1,0]', '[0,1,0.01]', '[0,-1,1]']::vector[], 3, 2);
SELECT count(*) AS none FROM hdbscan('{}');
SELECT ordinal, cluster FROM hdbscan(ARRAY['[1,0]', '[0,1]']::vector[]);

SELECT u.id AS run FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id WHERE r.external_id = 'meeting' \gset
CREATE TABLE found AS SELECT * FROM cluster_unlabeled(:run);
SELECT cluster, segments, round(seconds::numeric, 1) AS seconds, representative = ANY (segment_ids) AS inside FROM found ORDER BY cluster;
-- The diarizer's labels are the truth here: no cluster has two.
SELECT f.cluster, count(DISTINCT s.speaker_label) AS labels FROM found AS f, unnest(segment_ids) AS id JOIN speaker.segments AS s USING (id) GROUP BY 1 ORDER BY 1;
SELECT count(*) AS members, count(*) FILTER (WHERE representative) AS representatives FROM speaker.cluster_members;

-- A clustering of several runs, and segments that come later: each joins the cluster of its twin.
SELECT add_run('meeting', segments, 'manual') AS later FROM documents WHERE name = 'meeting' \gset
SELECT min(clustering_id) AS both, sum(segments) AS members FROM cluster_unlabeled(runs => ARRAY[:run, :later]) \gset
\echo :members
SELECT count(*) AS none FROM extend_clustering(:both);
SELECT status, count(*) FROM embed_run(:later) GROUP BY status;
SELECT count(*) AS joined, count(*) FILTER (WHERE e.cluster IS NOT DISTINCT FROM m.cluster) AS with_their_twin
FROM extend_clustering(:both) AS e
JOIN speaker.segments AS s ON s.id = e.segment_id
JOIN speaker.segments AS t ON t.run_id = :run AND t.start_time = s.start_time
JOIN speaker.cluster_members AS m ON m.clustering_id = :both AND m.segment_id = t.id;
SELECT count(*) AS again FROM extend_clustering(:both);
SELECT sum(segments) AS members, count(representative) AS representatives FROM speaker.clusters(:both) WHERE cluster IS NOT NULL;
-- The whole collection.
SELECT sum(segments) AS members FROM cluster_unlabeled(min_cluster_size => 4);
SELECT sum(segments) AS members FROM cluster_unlabeled(collection => 'nobody''s');
SELECT attempt('SELECT extend_clustering(999999)');
DELETE FROM speaker.clusterings WHERE run_id IS NULL;
DELETE FROM speaker.runs WHERE id = :later;

-- A label that was there stays.
SELECT label_segment(representative, 'Somebody') FROM found WHERE cluster = 'A';
SELECT cluster, label_cluster(clustering_id, cluster, 'Voice ' || cluster) AS labelled FROM found ORDER BY cluster;
SELECT p.name, count(*) FROM speaker.segments AS s JOIN speaker.speakers AS p ON p.id = s.speaker_id GROUP BY 1 ORDER BY 1;
SELECT source, count(*), count(score) AS scored, count(clustering_id) AS clustered FROM speaker.assignments GROUP BY 1 ORDER BY 1;
SELECT label_segment(representative, 'Voice A') FROM found WHERE cluster = 'A';

-- One label names a cluster.
SELECT unlabel_segment(id) FROM found, unnest(segment_ids) AS id WHERE cluster = 'B' ORDER BY id LIMIT 1;
SELECT count(unlabel_segment(id)) AS taken_back FROM found, unnest(segment_ids) AS id WHERE cluster = 'B';
SELECT label_segment(segment_ids[2], 'Voice B', whole_cluster => true) AS labelled FROM found WHERE cluster = 'B';
SELECT cluster, segments FROM cluster_unlabeled(:run);
DROP TABLE found;
