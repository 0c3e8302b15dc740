-- Search by example. First the nearest speakers: what callers may ask for.
SET ROLE regress_app;
INSERT INTO speaker.recordings (collection, external_id) VALUES ('search', 'known'), ('search', 'unknown');
INSERT INTO speaker.runs (collection, recording_id, segment_source, content_hash)
SELECT collection, id, 'manual', '' FROM speaker.recordings WHERE collection = 'search';
INSERT INTO speaker.speakers (collection, name) SELECT 'search', 'Person ' || i FROM generate_series(1, 50) AS i;
-- Ten segments of each, around an axis of their own; every tenth segment stays unknown.
INSERT INTO speaker.segments (collection, run_id, external_id, start_time, end_time, speaker_id)
SELECT 'search', u.id, i::text, i, i + 1, CASE WHEN r.external_id = 'known' THEN p.id END
FROM speaker.recordings AS r JOIN speaker.runs AS u ON u.recording_id = r.id
CROSS JOIN generate_series(0, 499) AS i JOIN speaker.speakers AS p ON (p.collection, p.name) = ('search', 'Person ' || 1 + i % 50)
WHERE r.collection = 'search' AND (i % 10 = 0) = (r.external_id = 'unknown');
CREATE FUNCTION voice(person int, seed float8) RETURNS vector LANGUAGE sql IMMUTABLE
RETURN (SELECT array_agg((CASE WHEN i = person THEN 8 ELSE 0 END) + sin(seed * i) ORDER BY i)::real[]::vector FROM generate_series(1, 256) AS i);
INSERT INTO speaker.embeddings (segment_id, collection, model_id, embedding)
SELECT s.id, s.collection, 1, voice(1 + s.external_id::int % 50, 1 + s.external_id::int) FROM speaker.segments AS s
JOIN speaker.runs AS u ON u.id = s.run_id JOIN speaker.recordings AS r ON r.id = u.recording_id WHERE r.collection = 'search';
CREATE VIEW mine AS
SELECT s.id, e.embedding, p.name AS speaker FROM speaker.segments AS s JOIN speaker.embeddings AS e ON e.segment_id = s.id
JOIN speaker.runs AS u ON u.id = s.run_id JOIN speaker.recordings AS r ON r.id = u.recording_id
LEFT JOIN speaker.speakers AS p ON p.id = s.speaker_id WHERE r.collection = 'search';
SELECT speaker, round(similarity::numeric, 1) AS similarity, embeddings FROM speaker_knn(voice(7, 0.5), 1, 'search');
SELECT count(*) AS all_of_them FROM speaker_knn(voice(7, 0.5), NULL, 'search');
SELECT count(*) AS no_more_than_there_are FROM speaker_knn(voice(7, 0.5), 1000, 'search');
SELECT attempt($$ SELECT speaker_knn(voice(7, 0.5), 0, 'search') $$);
SELECT count(*) AS like_a_scan
FROM speaker_knn(voice(7, 0.5), 50, 'search') AS k
JOIN (SELECT speaker, avg(embedding <=> voice(7, 0.5)) AS distance, row_number() OVER (ORDER BY avg(embedding <=> voice(7, 0.5))) AS place
      FROM mine WHERE speaker IS NOT NULL GROUP BY 1) AS n USING (speaker)
WHERE abs(k.distance - n.distance) < 1e-6;
-- Of equal speakers the one that was made first, for one embedding and for many.
INSERT INTO speaker.speakers (collection, name) VALUES ('search', 'Twin B'), ('search', 'Twin A');
SELECT add_speaker_embedding(name, voice(200, 0.5), 'search') > 0 AS added FROM (VALUES ('Twin A'), ('Twin B')) AS t (name);
SELECT speaker FROM speaker_knn(voice(200, 0.25), 2, 'search');
SELECT (SELECT array_agg(p.name ORDER BY x.place) FROM unnest(f.ids) WITH ORDINALITY AS x (id, place) JOIN speaker.speakers AS p USING (id)
        WHERE x.place IN (1, 2, 11, 12)) AS first_and_last
FROM (SELECT speaker_nearest_ids(c.speaker_id, c.mean, array_fill(voice(200, 0.25), ARRAY[6]), 2) AS ids
      FROM speaker.speaker_centroids AS c WHERE c.collection = 'search') AS f;
DELETE FROM speaker.speakers WHERE name LIKE 'Twin%';
-- Nobody moves to another collection, whoever says so.
SELECT attempt($$ UPDATE speaker.speakers SET collection = 'elsewhere' WHERE (collection, name) = ('search', 'Person 7') $$);
RESET ROLE;
SELECT attempt($$ UPDATE speaker.speakers SET collection = 'elsewhere' WHERE (collection, name) = ('search', 'Person 7') $$);
SET ROLE regress_app;
-- What has no speaker or no mean is left out; k NULL is all; without embeddings there is no answer.
SELECT speaker_nearest_ids(id, mean, ARRAY['[1,0]']::vector[], NULL) AS known, speaker_nearest_ids(id, mean, ARRAY['[1,0]']::vector[], 1) AS one,
       speaker_nearest_ids(id, mean, NULL, 1) AS unasked
FROM (VALUES (1::bigint, '[0,1]'::vector), (2, NULL), (NULL, '[1,0]'), (3, '[2,0]')) AS x (id, mean);
-- However the means are stored: a short header, inline, out of line.
CREATE TABLE stored (dim int, id bigint, mean vector);
INSERT INTO stored SELECT dim, id, ARRAY(SELECT CASE i WHEN id THEN 1 ELSE 0 END FROM generate_series(1, dim) AS i)::real[]::vector
FROM unnest('{6, 256, 4000}'::int[]) AS dim, generate_series(1, 6) AS id;
SELECT dim, min(pg_column_size(mean)) - 4 * dim AS overhead,
       speaker_nearest_ids(id, mean, ARRAY[ARRAY(SELECT greatest(7 - i, 0) FROM generate_series(1, dim) AS i)::real[]::vector], 3) AS ids
FROM stored GROUP BY dim ORDER BY dim;
DROP TABLE stored;
SELECT attempt($$ SELECT speaker_nearest_ids(1, '[1,2]', ARRAY['[1,2]', NULL]::vector[], 1) $$);
SELECT attempt($$ SELECT speaker_nearest_ids(1, '[1,2]', ARRAY['[1,2,3]']::vector[], 1) $$);
SELECT attempt($$ SELECT speaker_nearest_ids(1, '[1,2]', ARRAY['[0,0]']::vector[], 1) $$);

-- Then the nearest segments: without an index all of them are read.
SELECT index FROM speaker.missing_indexes;
CREATE TABLE exact AS
SELECT segment_id, similarity, known_only FROM (VALUES (true), (false)) AS o (known_only), nearest_segments(voice(7, 0.5), 10, o.known_only, 'search');
SELECT known_only, count(*), count(*) FILTER (WHERE e.similarity >= limit_of.similarity) AS right_ones
FROM exact AS e JOIN LATERAL (
    SELECT speaker_similarity(m.embedding, voice(7, 0.5)) AS similarity FROM mine AS m WHERE m.speaker IS NOT NULL OR NOT e.known_only
    ORDER BY 1 DESC OFFSET 9 LIMIT 1) AS limit_of ON true
GROUP BY 1 ORDER BY 1;
SELECT DISTINCT recording, speaker FROM nearest_segments(voice(7, 0.5), 9, collection => 'search');
SELECT count(*) AS everything FROM nearest_segments(voice(7, 0.5), NULL, false, 'search');
SELECT count(*) AS nobody FROM nearest_segments(voice(7, 0.5), 10, collection => 'nowhere');
SELECT attempt($$ SELECT nearest_segments(voice(7, 0.5), -1) $$);
SELECT attempt($$ SELECT nearest_segments('[1,2,3]') $$);
SELECT attempt('SELECT ensure_embedding_indexes()');

-- With the index the same, and k rows although the index alone gives up before.
RESET ROLE;
SELECT ensure_embedding_indexes();
SELECT count(*) AS again FROM ensure_embedding_indexes();
SELECT count(*) AS missing FROM speaker.missing_indexes;
SET ROLE regress_app;
SET hnsw.max_scan_tuples = 1;
SELECT count(*) AS found, count(e.segment_id) AS the_same
FROM nearest_segments(voice(7, 0.5), 10, false, 'search') AS n LEFT JOIN exact AS e ON e.segment_id = n.segment_id AND NOT e.known_only;
SELECT count(*) AS found FROM nearest_segments(voice(7, 0.5), 400, false, 'search');
RESET hnsw.max_scan_tuples;
SELECT count(*) AS known, count(speaker) AS named FROM nearest_segments(voice(7, 0.5), 30, collection => 'search');
-- Settings are the caller's again.
SELECT current_setting('enable_sort') AS enable_sort, current_setting('hnsw.ef_search') AS ef_search;
-- What a failed CREATE INDEX CONCURRENTLY leaves behind is missing, and made anew.
RESET ROLE;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'speaker.embeddings_hnsw_1'::regclass;
SELECT index, definition FROM speaker.missing_indexes;
SELECT ensure_embedding_indexes();
SET ROLE regress_app;

-- Sums made by hand are no way to vectors that no other would make.
SELECT attempt($$ SELECT speaker_mean('{1,NaN}', 1) $$);
SELECT attempt($$ SELECT speaker_mean('{1,1e300}', 1) $$);
SELECT attempt($$ SELECT speaker_mean('{1,NULL}', 1) $$);
SELECT attempt($$ SELECT speaker_mean(array_fill(1::float8, ARRAY[16001]), 1) $$);
SELECT attempt($$ SELECT speaker_centroid_final('{Infinity,1}') $$);
SELECT attempt($$ SELECT speaker_centroid_final(array_fill(1::float8, ARRAY[16002])) $$);
SELECT attempt($$ SELECT speaker_add_sums('{1,NULL}', '{1,2}') $$);
SELECT speaker_mean('{1,2}', 0) IS NULL AS of_none, speaker_mean('{}', 1) IS NULL AS of_nothing, speaker_mean('{3,4}', 2) AS mean;
