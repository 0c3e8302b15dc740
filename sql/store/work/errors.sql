-- Errors of the catalogue, from SQL.

-- Raises an error of the catalogue; hint NULL means the catalogue's.
CREATE OR REPLACE FUNCTION @store@.raise_error(code text, message text, hint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @extension@.speaker_raise(code, message, hint);
END
$$;

-- A trigger function of this store that fires for another table was hung there by somebody who wants its rights.
CREATE OR REPLACE FUNCTION @store@.check_table(fired_for oid, belongs_to text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class AS c
                   WHERE c.oid = fired_for AND c.relnamespace = '@store@'::regnamespace
                     -- The table, or a shard of it.
                     AND (c.relname = belongs_to OR c.relname ~ ('^' || belongs_to || '_[0-9]+$'))) THEN
        PERFORM @store@.raise_error('trigger_misplaced', format('this trigger belongs to the table %s of its store', belongs_to));
    END IF;
END
$$;
