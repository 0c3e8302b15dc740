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

-- The names of schemas are put into texts of all kinds. Asked again at each upgrade: a schema can be renamed.
CREATE FUNCTION speaker_check_store_name(schema name) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF schema IS NULL OR schema ~ '[''$\\@[:cntrl:]]' OR schema = '' THEN
        PERFORM @extschema@.speaker_raise('invalid_argument'::text, format('"%s" cannot be the name of a store', schema),
            'Quotes, dollar signs, backslashes, at signs and control characters are not allowed in it.'::text);
    END IF;
END
$$;
COMMENT ON FUNCTION speaker_check_store_name(name) IS 'Raises where a schema of this name cannot have a store.';

-- The role whose store is in a schema.
CREATE FUNCTION speaker_store_owner(schema name) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner oid;
BEGIN
    PERFORM @extschema@.speaker_check_store_name(schema);
    SELECT n.nspowner INTO owner
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = schema AND c.relname = 'migrations' AND c.relkind = 'r' AND c.relowner = n.nspowner;
    IF owner IS NULL THEN
        PERFORM @extschema@.speaker_raise('store_missing'::text, format('schema "%s" has no store', schema), NULL::text);
    END IF;
    RETURN owner;
END
$$;
COMMENT ON FUNCTION speaker_store_owner(name) IS 'The owner of the store in this schema, which has one.';

CREATE FUNCTION speaker_check_own_store(schema name) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF @extschema@.speaker_store_owner(schema) <> quote_ident(current_user)::regrole THEN
        PERFORM @extschema@.speaker_raise('store_forbidden'::text, format('schema "%s" belongs to another role', schema), NULL::text);
    END IF;
END
$$;
COMMENT ON FUNCTION speaker_check_own_store(name) IS 'Raises where the current user is not the very role whose store is in this schema.';

-- Upgrades and downgrades meet what the store's owner has put there, so they run with no rights but that owner's.

CREATE FUNCTION speaker_upgrade_own_store(schema name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    have int;
    newest CONSTANT int := (SELECT max(m.number) FROM @extschema@.speaker_store_migrations() AS m);
    migration record;
BEGIN
    PERFORM @extschema@.speaker_check_own_store(schema);
    EXECUTE format('LOCK TABLE %I.migrations IN EXCLUSIVE MODE', schema);
    EXECUTE format('SELECT coalesce(max(m.number), 0) FROM %I.migrations AS m', schema) INTO have;
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
END
$$;
COMMENT ON FUNCTION speaker_upgrade_own_store(name) IS 'The work of upgrade_speaker_store(), as the current user.';

CREATE FUNCTION upgrade_speaker_store(schema name DEFAULT 'speaker') RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @extschema@.speaker_run_as(@extschema@.speaker_store_owner(schema),
        format('SELECT @extschema@.speaker_upgrade_own_store(%L::name)', schema));
    RETURN (SELECT max(m.number) FROM @extschema@.speaker_store_migrations() AS m);
END
$$;
COMMENT ON FUNCTION upgrade_speaker_store(name) IS
    'Runs the migrations that this store has not had, in one transaction, makes its functions, triggers and views as this library has them, and returns its version. Nothing changes where nothing is missing. For the store''s owner.';

CREATE FUNCTION create_speaker_store(schema name DEFAULT 'speaker') RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner name := current_user;
    place record;
BEGIN
    PERFORM @extschema@.speaker_check_store_name(schema);
    IF (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        owner := 'pg_database_owner';
        RAISE NOTICE 'the store belongs to pg_database_owner, that is to the owner of this database, for its triggers run as its owner and must not run as a superuser'
            USING HINT = 'To give it to another role, SET ROLE to that one first.';
        -- Whose triggers call what is there.
        EXECUTE (SELECT format('GRANT USAGE ON SCHEMA @extschema@, %I TO pg_database_owner', n.nspname)
                 FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector');
    END IF;
    SELECT n.oid, r.rolname AS owner, r.rolsuper AS is_superusers, n.nspacl INTO place
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
        -- Of a superuser every role is one's own: whoever made this schema first would get the store.
        IF NOT pg_has_role(current_user, place.owner, 'USAGE')
           OR owner <> current_user AND place.owner <> owner AND NOT place.is_superusers THEN
            PERFORM @extschema@.speaker_raise('store_forbidden'::text, format('schema "%s" belongs to another role', schema), NULL::text);
        END IF;
        IF NOT place.is_superusers THEN
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
    -- The rest of it is its first upgrade.
    PERFORM @extschema@.speaker_run_as(quote_ident(owner)::regrole::oid,
        format('CREATE TABLE %I.migrations (number int PRIMARY KEY CHECK (number > 0), name text NOT NULL, '
               'library_version text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())', schema));
    RETURN @extschema@.upgrade_speaker_store(schema);
END
$$;
COMMENT ON FUNCTION create_speaker_store(name) IS
    'Makes a store: a schema with the tables, triggers, views and functions of pg_speaker, which belong to the role that calls (to the owner of the database where that is a superuser), and returns its version. Needs the right to create schemas, or an empty schema of one''s own.';

-- Without the notice that lists everything that goes.
CREATE FUNCTION speaker_downgrade_own_store(schema name, to_version int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    have int;
    migration record;
BEGIN
    PERFORM @extschema@.speaker_check_own_store(schema);
    EXECUTE format('SELECT coalesce(max(m.number), 0) FROM %I.migrations AS m', schema) INTO have;
    PERFORM @extschema@.speaker_check_store(have);
    FOR migration IN
        SELECT m.number, m.down FROM @extschema@.speaker_store_migrations() AS m
        WHERE m.number > to_version AND m.number <= have ORDER BY m.number DESC
    LOOP
        EXECUTE @extschema@.speaker_store_script(migration.down, schema, have);
        IF migration.number > 1 THEN
            EXECUTE format('DELETE FROM %I.migrations AS m WHERE m.number = $1', schema) USING migration.number;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION speaker_downgrade_own_store(name, int) IS 'The work of downgrade_speaker_store(), as the current user.';

CREATE FUNCTION downgrade_speaker_store(schema name DEFAULT 'speaker', to_version int DEFAULT 0) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @extschema@.speaker_run_as(@extschema@.speaker_store_owner(schema),
        format('SELECT @extschema@.speaker_downgrade_own_store(%L::name, %s)', schema, coalesce(to_version, 0)));
    RETURN coalesce(to_version, 0);
END
$$;
COMMENT ON FUNCTION downgrade_speaker_store(name, int) IS
    'Takes migrations back, the last first, and refuses where data would be lost; to version 0 an empty store goes. Then the older library can be installed. For the store''s owner.';

COMMENT ON FUNCTION speaker_store_migrations() IS 'The migrations of a store, with places for the names of schemas.';
COMMENT ON FUNCTION speaker_store_definitions() IS 'The functions, triggers and views of a store, with places for the names of schemas.';
COMMENT ON FUNCTION speaker_run_as(oid, text) IS 'Runs statements with the rights of a role whose rights the caller has, and with no others.';
COMMENT ON FUNCTION speaker_check_store(int) IS 'Raises where a store of this version is not what the library works with.';
