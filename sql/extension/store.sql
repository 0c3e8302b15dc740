-- Stores: made, upgraded and taken back. Each of these runs what the library holds as text, with the caller's rights.

CREATE FUNCTION speaker_store_script(script text, schema name, version int) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    vector_schema name;
BEGIN
    SELECT n.nspname INTO STRICT vector_schema
    FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = 'vector';
    RETURN replace(replace(replace(replace(script, '@store@', quote_ident(schema)),
        '@extension@', '@extschema@'), '@vector@', quote_ident(vector_schema)), '@version@', version::text);
END
$$;
COMMENT ON FUNCTION speaker_store_script(text, name, int) IS 'A text of the store with the names of its schema, of this extension''s and of pgvector''s.';

-- A store's triggers run as its owner: that must not be a superuser, so what a superuser makes belongs to whoever owns the
-- database. Answers the role that was set before.
CREATE FUNCTION speaker_become_owner(owner name) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before CONSTANT text := current_setting('role');
BEGIN
    IF owner <> current_user THEN
        PERFORM set_config('role', owner, true);
    END IF;
    RETURN before;
END
$$;
COMMENT ON FUNCTION speaker_become_owner(name) IS 'Sets the role for the rest of the transaction, if the session may, and answers the one before.';

CREATE FUNCTION upgrade_speaker_store(schema name DEFAULT 'speaker') RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner name;
    before text;
    have int;
    newest int;
    migration record;
BEGIN
    SELECT r.rolname INTO owner
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_roles AS r ON r.oid = n.nspowner
    WHERE n.nspname = schema AND c.relname = 'migrations' AND c.relowner = n.nspowner;
    IF owner IS NULL THEN
        PERFORM @extschema@.speaker_raise('store_missing'::text, format('schema "%s" has no store', schema), NULL::text);
    END IF;
    before := @extschema@.speaker_become_owner(owner);
    EXECUTE format('LOCK TABLE %I.migrations IN EXCLUSIVE MODE', schema);
    EXECUTE format('SELECT coalesce(max(m.number), 0) FROM %I.migrations AS m', schema) INTO have;
    SELECT max(m.number) INTO newest FROM @extschema@.speaker_store_migrations() AS m;
    IF have > newest THEN
        PERFORM @extschema@.speaker_check_store(have);
    END IF;
    FOR migration IN
        SELECT m.number, m.name, m.up FROM @extschema@.speaker_store_migrations() AS m WHERE m.number > have ORDER BY m.number
    LOOP
        EXECUTE @extschema@.speaker_store_script(migration.up, schema, newest);
        EXECUTE format('INSERT INTO %I.migrations (number, name, library_version) VALUES ($1, $2, $3)', schema)
        USING migration.number, migration.name, (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'pg_speaker');
    END LOOP;
    EXECUTE @extschema@.speaker_store_script(@extschema@.speaker_store_definitions(), schema, newest);
    PERFORM set_config('role', before, true);
    RETURN newest;
END
$$;
COMMENT ON FUNCTION upgrade_speaker_store(name) IS
    'Runs the migrations that this store has not had, in one transaction, makes its functions, triggers and views as this library has them, and returns its version. Nothing changes where nothing is missing. For the store''s owner.';

CREATE FUNCTION create_speaker_store(schema name DEFAULT 'speaker') RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner name := current_user;
    before text;
    place record;
    answer int;
BEGIN
    IF schema IS NULL OR schema ~ '[''$\\@]' OR schema = '' THEN
        PERFORM @extschema@.speaker_raise('invalid_argument'::text, format('"%s" cannot be the name of a store', schema),
            'Quotes, dollar signs, backslashes and at signs are not allowed in it.'::text);
    END IF;
    IF (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        owner := 'pg_database_owner';
        RAISE NOTICE 'the store belongs to pg_database_owner, that is to the owner of this database, for its triggers run as its owner and must not run as a superuser'
            USING HINT = 'To give it to another role, SET ROLE to that one first.';
        -- Whose triggers call what is there.
        EXECUTE (SELECT format('GRANT USAGE ON SCHEMA @extschema@, %I TO pg_database_owner', n.nspname)
                 FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector');
    END IF;
    SELECT n.oid, r.rolname AS owner, n.nspacl INTO place
    FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner WHERE n.nspname = schema;
    IF place.oid IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
        IF owner <> current_user THEN
            EXECUTE format('ALTER SCHEMA %I OWNER TO %I', schema, owner);
        END IF;
    ELSIF EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = place.oid)
       OR EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = place.oid)
       OR EXISTS (SELECT FROM pg_type AS t WHERE t.typnamespace = place.oid) THEN
        PERFORM @extschema@.speaker_raise('store_exists'::text, format('schema "%s" is not empty', schema), NULL::text);
    ELSE
        IF NOT pg_has_role(current_user, place.owner, 'USAGE') THEN
            PERFORM @extschema@.speaker_raise('store_forbidden'::text, format('schema "%s" belongs to another role', schema), NULL::text);
        END IF;
        IF NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = place.owner) THEN
            owner := place.owner;
        ELSE
            EXECUTE format('ALTER SCHEMA %I OWNER TO %I', schema, owner);
        END IF;
        -- Whoever may create in it could put a function beside ours that is called instead, with the owner's rights.
        IF EXISTS (SELECT FROM aclexplode(place.nspacl) AS a
                   WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT r.oid FROM pg_roles AS r WHERE r.rolname IN (place.owner, owner))) THEN
            PERFORM @extschema@.speaker_raise('schema_open'::text,
                format('others than its owner may create objects in schema "%s"', schema), NULL::text);
        END IF;
    END IF;
    before := @extschema@.speaker_become_owner(owner);
    -- The rest of it is its first upgrade.
    EXECUTE format('CREATE TABLE %I.migrations (number int PRIMARY KEY CHECK (number > 0), name text NOT NULL, '
                   'library_version text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())', schema);
    answer := @extschema@.upgrade_speaker_store(schema);
    PERFORM set_config('role', before, true);
    RETURN answer;
END
$$;
COMMENT ON FUNCTION create_speaker_store(name) IS
    'Makes a store: a schema with the tables, triggers, views and functions of pg_speaker, which belong to the role that calls (to the owner of the database where that is a superuser), and returns its version. Needs the right to create schemas, or an empty schema of one''s own.';

-- Without the notice that lists everything that goes.
CREATE FUNCTION downgrade_speaker_store(schema name DEFAULT 'speaker', to_version int DEFAULT 0) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    have int;
    migration record;
BEGIN
    IF to_regclass(format('%I.migrations', schema)) IS NULL THEN
        PERFORM @extschema@.speaker_raise('store_missing'::text, format('schema "%s" has no store', schema), NULL::text);
    END IF;
    EXECUTE format('SELECT coalesce(max(m.number), 0) FROM %I.migrations AS m', schema) INTO have;
    PERFORM @extschema@.speaker_check_store(have);
    FOR migration IN
        SELECT m.number, m.down FROM @extschema@.speaker_store_migrations() AS m
        WHERE m.number > coalesce(to_version, 0) AND m.number <= have ORDER BY m.number DESC
    LOOP
        EXECUTE @extschema@.speaker_store_script(migration.down, schema, have);
        IF migration.number > 1 THEN
            EXECUTE format('DELETE FROM %I.migrations AS m WHERE m.number = $1', schema) USING migration.number;
        END IF;
    END LOOP;
    RETURN coalesce(to_version, 0);
END
$$;
COMMENT ON FUNCTION downgrade_speaker_store(name, int) IS
    'Takes migrations back, the last first, and refuses where data would be lost; to version 0 an empty store goes. Then the older library can be installed. For the store''s owner.';

COMMENT ON FUNCTION speaker_store_migrations() IS 'The migrations of a store, with places for the names of schemas.';
COMMENT ON FUNCTION speaker_store_definitions() IS 'The functions, triggers and views of a store, with places for the names of schemas.';
COMMENT ON FUNCTION speaker_check_store(int) IS 'Raises where a store of this version is not what the library works with.';
