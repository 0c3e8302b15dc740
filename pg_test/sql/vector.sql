-- pgvector's type through Rust and back.
SET ROLE regress_app;
SELECT speaker_similarity('[3,4]', '[6,8]') AS same, speaker_similarity('[1,0]', '[0,2]') AS apart,
       speaker_similarity('[1,0]', '[-2,0]') AS opposite, speaker_similarity(NULL, '[1]') AS unknown;
SELECT attempt($$ SELECT speaker_similarity('[1,2,3]', '[1,2,3,4]') $$);
SELECT attempt($$ SELECT speaker_similarity('[0,0]', '[1,2]') $$);
SELECT attempt($$ SELECT '[1,NaN]'::vector $$);

-- Stored inline, out of line and compressed: the same value.
CREATE TABLE stored (id int, v vector);
ALTER TABLE stored ALTER v SET STORAGE EXTERNAL;
INSERT INTO stored SELECT 1, array_fill(0.5::real, ARRAY[4000])::vector;
ALTER TABLE stored ALTER v SET STORAGE EXTENDED;
INSERT INTO stored SELECT 2, array_fill(0.5::real, ARRAY[4000])::vector;
INSERT INTO stored SELECT 3, array_fill(0.5::real, ARRAY[3])::vector;
SELECT id, vector_dims(v), round(speaker_similarity(v, v)::numeric, 12) AS similarity FROM stored ORDER BY id;

-- The mean of the directions: lengths do not count, NULL is left out, and no rows have none.
SELECT speaker_centroid(v) FROM (VALUES ('[2,0]'::vector), ('[0,5]'), (NULL)) AS x (v);
SELECT speaker_centroid(v) IS NULL AS none FROM stored WHERE false;
SELECT attempt('SELECT speaker_centroid(v) FROM stored');

-- Split over workers and put together again.
CREATE TABLE many AS SELECT ARRAY[cos(i), sin(i), i % 7]::vector AS v FROM generate_series(1, 20000) AS i;
ALTER TABLE many SET (parallel_workers = 2);
SELECT speaker_centroid(v) AS serial FROM many \gset
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT speaker_centroid(v) FROM many;
SELECT (speaker_centroid(v) <-> :'serial') < 1e-6 AS same FROM many;
DROP TABLE stored, many;
