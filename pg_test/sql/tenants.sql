-- Row security by collection. (make attack tries every function, view and table.)
SET client_min_messages = warning;
CREATE ROLE regress_a;
CREATE ROLE regress_b;
CREATE ROLE regress_pool;
SET ROLE regress_owner;
SELECT FROM speaker.grant_access('regress_a');
SELECT FROM speaker.grant_access('regress_b');
SELECT FROM speaker.grant_access('regress_pool');
INSERT INTO speaker.memberships (member, collection) VALUES ('regress_a', 'a'), ('regress_a', 'a2'), ('regress_b', 'b');
INSERT INTO speaker.memberships (member, by_setting) VALUES ('regress_pool', true);
SELECT FROM speaker.enable_row_security();
SELECT relname AS without_policy FROM pg_class AS c
WHERE relnamespace = 'speaker'::regnamespace AND relkind = 'r' AND NOT relrowsecurity ORDER BY 1;
RESET ROLE;
GRANT SELECT ON files, documents TO regress_a, regress_b, regress_pool;

SET ROLE regress_a;
SET speaker.collection = 'a';
SELECT status, count(*) FROM files JOIN documents USING (name), ingest_recording(name, audio, segments) WHERE name = 'meeting' GROUP BY status;
SELECT min(segment_id) AS segment FROM speaker.transcript \gset
SELECT label_segment(:segment, 'Ann');
SET speaker.collection = 'a2';
SELECT count(*) AS of_the_other FROM speaker.transcript;
RESET speaker.collection;
SELECT collection, count(*) FROM speaker.transcript GROUP BY 1;
SELECT member, collection FROM speaker.memberships ORDER BY 2;

SET ROLE regress_b;
SET speaker.collection = 'b';
SELECT count(*) AS segments FROM speaker.segments;
SELECT attempt(format('SELECT label_segment(%s, %L)', :segment, 'Ann')) = replace(attempt('SELECT label_segment(999999, ''Ann'')'), '999999', :'segment') AS as_if_it_were_not;
SELECT attempt($$ INSERT INTO speaker.recordings (collection, external_id) VALUES ('a', 'spy') $$);
SELECT attempt($$ SELECT ingest_recording('meeting', NULL, '[]', collection => 'a') $$);
SELECT attempt(format($$ INSERT INTO speaker.runs (collection, recording_id, segment_source, content_hash) VALUES ('b', %s, 'manual', '') $$, 1)) ~ '^23503' AS no_such_recording;
UPDATE speaker.segments SET speaker_label = 'x';
DELETE FROM speaker.recordings;
SELECT count(*) AS speakers FROM speaker_knn(array_fill(1::real, ARRAY[256])::vector);
SELECT segments, embedded, speakers FROM speaker.status;
SELECT count(*) AS of_another FROM speaker_knn(array_fill(1::real, ARRAY[256])::vector, collection => 'a');
SELECT segment_id IS NOT NULL AS stored FROM ingest_recording('call', NULL, '[{"start": 0, "end": 1}]');
CALL backfill_embeddings();

-- Whoever is a member by the setting sees what it names, and nothing without it.
SET ROLE regress_pool;
SELECT count(*) AS recordings FROM speaker.recordings;
SET speaker.collection = 'a';
SELECT count(*) AS recordings FROM speaker.recordings;
RESET speaker.collection;
SELECT count(*) AS recordings FROM speaker.recordings;
SELECT attempt($$ SELECT ingest_recording('x', NULL, '[]') $$);

SET ROLE regress_owner;
SELECT count(*) AS everything FROM speaker.recordings WHERE collection IN ('a', 'b');
SELECT count(*) FILTER (WHERE speaker IS NOT NULL) AS labels FROM speaker.transcript WHERE collection = 'a';
SELECT FROM speaker.disable_row_security();
DELETE FROM speaker.recordings WHERE collection IN ('a', 'b');
DELETE FROM speaker.speakers WHERE collection IN ('a', 'b');
DELETE FROM speaker.memberships;
RESET ROLE;
DROP OWNED BY regress_a, regress_b, regress_pool;
DROP ROLE regress_a, regress_b, regress_pool;
