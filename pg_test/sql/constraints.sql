-- Nonsense cannot be stored.
SET ROLE regress_app;
SELECT min(id) AS run FROM speaker.runs \gset
CREATE FUNCTION pg_temp.refused(command text) RETURNS text LANGUAGE sql AS $$ SELECT split_part(public.attempt(command), ' | ', 1) || ' ' || coalesce(substring(public.attempt(command) FROM 'constraint "(\w+)"'), '') $$;
SELECT pg_temp.refused(format('INSERT INTO speaker.segments (run_id, start_time, end_time) VALUES (%s, 5, 3)', :run)) AS reversed;
SELECT pg_temp.refused(format('INSERT INTO speaker.segments (run_id, start_time, end_time) VALUES (%s, 5, 5)', :run)) AS empty;
SELECT pg_temp.refused(format('INSERT INTO speaker.segments (run_id, start_time, end_time) VALUES (%s, -1, 3)', :run)) AS negative;
SELECT pg_temp.refused(format('INSERT INTO speaker.segments (run_id, start_time, end_time) VALUES (%s, ''NaN'', 3)', :run)) AS nan_start;
SELECT pg_temp.refused(format('INSERT INTO speaker.segments (run_id, start_time, end_time) VALUES (%s, 1, ''NaN'')', :run)) AS nan_end;
SELECT pg_temp.refused(format('INSERT INTO speaker.segments (run_id, start_time, end_time, confidence) VALUES (%s, 1, 2, 1.5)', :run)) AS confidence;
SELECT pg_temp.refused('INSERT INTO speaker.speakers (name) VALUES (''unknown'')') AS unknown_is_null;
SELECT pg_temp.refused('INSERT INTO speaker.speakers (name) VALUES ('' '')') AS blank;
INSERT INTO speaker.segments (run_id, external_id, start_time, end_time) VALUES (:run, 'free', 1, 2) RETURNING id AS free \gset
SELECT pg_temp.refused(format('INSERT INTO speaker.embeddings (segment_id, model_id, embedding) VALUES (%s, 1, ''[1,2,3]'')', :free)) AS dimension;
SELECT pg_temp.refused(format('INSERT INTO speaker.embeddings (segment_id, model_id, embedding) VALUES (%s, 1, array_fill(0::real, ARRAY[256])::vector)', :free)) AS zero;
SELECT pg_temp.refused(format('UPDATE speaker.segments SET speaker_id = (SELECT id FROM speaker.speakers WHERE collection = ''other'') WHERE id = %s', :free)) AS other_collection;
SELECT pg_temp.refused('INSERT INTO speaker.recordings (external_id) VALUES (''meeting'')') AS duplicate;
DELETE FROM speaker.segments WHERE id = :free;
