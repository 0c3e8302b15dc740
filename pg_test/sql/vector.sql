-- pgvector's type through Rust and back.
SET ROLE regress_app;
SELECT speaker_similarity('[3,4]', '[6,8]') AS same, speaker_similarity('[1,0]', '[0,2]') AS apart,
       speaker_similarity('[1,0]', '[-2,0]') AS opposite, speaker_similarity(NULL, '[1]') AS unknown;
SELECT attempt($$ SELECT speaker_similarity('[1,2,3]', '[1,2,3,4]') $$);
SELECT attempt($$ SELECT speaker_similarity('[0,0]', '[1,2]') $$);
SELECT attempt($$ SELECT '[1,NaN]'::vector $$);

SELECT attempt($$ SELECT '[1,Infinity]'::vector $$);
SELECT attempt($$ SELECT ARRAY['NaN', 1]::real[]::vector $$);
SELECT attempt($$ SELECT '[]'::vector $$);
-- Neither the largest nor the smallest numbers of a vector get lost.
SELECT speaker_similarity('[3e38,3e38]', '[1e-30,1e-30]') AS extremes, speaker_similarity('[5]', '[2]') AS one_dimension,
       round(speaker_similarity('[1,2,3]', '[4,5,6]')::numeric, 6) AS other;

-- Stored inline, out of line and compressed: the same value.
CREATE TABLE stored (id int, v vector);
ALTER TABLE stored ALTER v SET STORAGE EXTERNAL;
INSERT INTO stored SELECT 1, array_fill(0.5::real, ARRAY[4000])::vector;
ALTER TABLE stored ALTER v SET STORAGE EXTENDED;
INSERT INTO stored SELECT 2, array_fill(0.5::real, ARRAY[4000])::vector;
INSERT INTO stored SELECT 3, array_fill(0.5::real, ARRAY[3])::vector;
INSERT INTO stored SELECT 4, array_agg(1 + i % 500)::real[]::vector FROM generate_series(1, 16000) AS i;
SELECT id, vector_dims(v), pg_column_compression(v) IS NOT NULL AS compressed,
       pg_column_size(v) = 5 + 4 * vector_dims(v) AS short_header,
       round(speaker_similarity(v, v)::numeric, 12) AS similarity,
       round(speaker_similarity(v, v::real[]::vector)::numeric, 12) AS plain_copy
FROM stored ORDER BY id;
SELECT pg_relation_size(reltoastrelid) > 16000 AS out_of_line FROM pg_class WHERE oid = 'stored'::regclass;

-- The mean of the directions: lengths do not count, NULL is left out, and no rows have none.
SELECT speaker_centroid(v) FROM (VALUES ('[2,0]'::vector), ('[0,5]'), (NULL)) AS x (v);
SELECT speaker_centroid(v) IS NULL AS none FROM stored WHERE false;
SELECT attempt('SELECT speaker_centroid(v) FROM stored');
SELECT attempt($$ SELECT speaker_centroid(v) FROM (VALUES ('[1,0]'::vector), ('[0,0]')) AS x (v) $$);
SELECT speaker_centroid(v) IS NULL AS of_nulls FROM (VALUES (NULL::vector), (NULL)) AS x (v);
SELECT g, speaker_centroid(v) FROM (VALUES (1, '[1,0]'::vector), (2, '[0,2]'), (1, '[0,1]')) AS x (g, v) GROUP BY g ORDER BY g;
SELECT g, speaker_centroid(v) OVER (ORDER BY g)
FROM (VALUES (1, '[1,0]'::vector), (2, '[0,2]'), (3, NULL), (4, '[0,3]'), (5, '[0,4]')) AS x (g, v);
-- The average similarity to all of them is one inner product.
SELECT abs(-(speaker_centroid(v) <#> l2_normalize('[1,2,3]'::vector)) - avg(speaker_similarity(v, '[1,2,3]'))) < 1e-6 AS average
FROM (SELECT ARRAY[sin(i), cos(i), sin(i * i)]::vector AS v FROM generate_series(1, 100) AS i) AS x;

-- Split over workers and put together again.
CREATE TABLE many AS SELECT ARRAY[cos(i), sin(i), i % 7]::vector AS v FROM generate_series(1, 20000) AS i;
ALTER TABLE many SET (parallel_workers = 2);
SELECT speaker_centroid(v) AS serial FROM many \gset
-- The leader stands aside: what comes back was put together.
SET parallel_leader_participation = off;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT speaker_centroid(v) FROM many;
SELECT (speaker_centroid(v) <-> :'serial') < 1e-6 AS same FROM many;
SELECT attempt($$ SELECT speaker_add_sums('{1,2}', '{1,2,3}') $$);

-- Arrays: as a literal, and stored out of line as a whole. The lengths of vectors do not count.
SELECT array_agg(c.cluster ORDER BY c.ordinal) AS clusters
FROM hdbscan(ARRAY['[9,0,0]', '[1,0.01,0]', '[2,0,0.02]', '[0,7,0]', '[0.01,1,0]', '[0,5,0.05]', '[-1,-1,-1]']::vector[], 3) AS c;
CREATE TABLE arrays (v vector[]);
ALTER TABLE arrays ALTER v SET STORAGE EXTERNAL;
INSERT INTO arrays
SELECT array_agg(CASE i % 2 WHEN 0 THEN ARRAY[1, 0.001 * sin(i), 0.001 * cos(i), 0.001 * sin(i * i)]
                            ELSE ARRAY[0.001 * sin(i), 1, 0.001 * cos(i), 0.001 * sin(i * i)] END::vector ORDER BY i) AS v
FROM generate_series(1, 400) AS i;
SELECT pg_relation_size(reltoastrelid) > 8000 AS out_of_line FROM pg_class WHERE oid = 'arrays'::regclass;
SELECT c.ordinal % 2 AS odd, count(*), count(DISTINCT c.cluster) AS clusters
FROM arrays, hdbscan(v, 10, min_samples => 2, cluster_selection_epsilon => 0.1) AS c GROUP BY 1 ORDER BY 1;
DROP TABLE stored, many, arrays;
