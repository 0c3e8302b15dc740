-- Stores: made by an ordinary role, upgraded, taken back; two that do not know of each other; and what outlives the extension.
SET client_min_messages = warning;
CREATE ROLE regress_second;
CREATE SCHEMA second AUTHORIZATION regress_second;
-- A role that owns nothing but a schema.
SET ROLE regress_second;
SELECT create_speaker_store('second');
SELECT attempt($$ SELECT create_speaker_store('third') $$);
SELECT attempt($$ SELECT create_speaker_store('second') $$);
SELECT attempt($$ SELECT upgrade_speaker_store('third') $$);
SELECT attempt($$ SELECT create_speaker_store('it''s') $$);
SELECT number, name FROM second.migrations;
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'second'::regnamespace;
-- Independent of the first.
SELECT segment_id FROM second.ingest_recording('mine', NULL, '[{"start": 0, "end": 4}]');
SELECT second.add_speaker_embedding('Zoe', array_fill(1::real, ARRAY[256])::vector);
SELECT speaker, embeddings FROM second.speaker_knn(array_fill(1::real, ARRAY[256])::vector);
RESET ROLE;
SELECT count(*) AS zoes FROM speaker.speakers WHERE name = 'Zoe';
-- A schema in which others may create is no place for a store.
CREATE SCHEMA open AUTHORIZATION regress_second;
GRANT CREATE ON SCHEMA open TO regress_app;
SET ROLE regress_second;
SELECT attempt($$ SELECT create_speaker_store('open') $$);
SET ROLE regress_app;
SELECT attempt($$ SELECT create_speaker_store('open') $$);
RESET ROLE;
DROP SCHEMA open;

-- Another version than the library's: nothing is guessed.
INSERT INTO second.migrations (number, name, library_version) VALUES (99, 'of the future', '99');
SET ROLE regress_second;
SELECT attempt($$ SELECT upgrade_speaker_store('second') $$);
SELECT attempt($$ SELECT downgrade_speaker_store('second') $$);
SELECT attempt('SELECT speaker_check_store(0)');
RESET ROLE;
DELETE FROM second.migrations WHERE number = 99;
SET ROLE regress_second;
SELECT upgrade_speaker_store('second');
SELECT count(*) AS recordings FROM second.recordings;
-- With data there is no way back; without, there is.
SELECT attempt($$ SELECT downgrade_speaker_store('second') $$);
DELETE FROM second.recordings;
DELETE FROM second.speakers;
DELETE FROM second.assignments;
SELECT downgrade_speaker_store('second');
RESET ROLE;
SELECT to_regnamespace('second') IS NULL AS gone;

-- A store that has had no migration yet gets all of them, or none.
CREATE SCHEMA second AUTHORIZATION regress_second;
SET ROLE regress_second;
CREATE TABLE second.migrations (number int PRIMARY KEY, name text NOT NULL, library_version text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
CREATE VIEW second.transcript AS SELECT 1 AS of_somebody_else;
SELECT attempt($$ SELECT upgrade_speaker_store('second') $$) ~ '^42P16' AS in_the_way;
SELECT relname FROM pg_class WHERE relnamespace = 'second'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;
DROP VIEW second.transcript;
SELECT upgrade_speaker_store('second');
SELECT count(*) AS models FROM second.models;
-- A store under another name is healed.
RESET ROLE;
ALTER SCHEMA second RENAME TO "The 2nd";
SET ROLE regress_second;
SELECT attempt($$ SELECT "The 2nd".model_id() $$) ~ '^(42883|42P01|3F000)' AS broken;
SELECT upgrade_speaker_store('The 2nd');
SELECT "The 2nd".model_id();
SELECT downgrade_speaker_store('The 2nd');
RESET ROLE;

-- The extension goes, and takes nothing; it comes back, and everything works.
SELECT count(*) AS embeddings FROM speaker.embeddings \gset
DROP EXTENSION pg_speaker;
SELECT count(*) = :embeddings AS all_there FROM speaker.embeddings;
SELECT attempt($$ SELECT speaker.label_segment(1, 'Ann') $$) ~ '^42883' AS no_function;
SET search_path = speaker, public;
SELECT attempt('CREATE EXTENSION pg_speaker');
CREATE EXTENSION pg_speaker SCHEMA public;
SET search_path = public, speaker;
SELECT vector_dims(embedding) FROM speaker.embeddings LIMIT 1;
SELECT count(*) > 0 AS found FROM speaker_knn((SELECT embedding FROM speaker.embeddings LIMIT 1));
-- Names alone, where no store is on the path.
SET search_path = public;
SELECT attempt($$ SELECT speaker_knn('[1]') $$);
DROP ROLE regress_second;
