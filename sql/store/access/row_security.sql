-- Tenants by collection: a session sees the collections of its roles' memberships.

CREATE OR REPLACE FUNCTION @store@.my_collections() RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen CONSTANT text := @extension@.speaker_collection();
BEGIN
    RETURN ARRAY(
        SELECT CASE WHEN m.by_setting THEN chosen ELSE m.collection END
        FROM @store@.memberships AS m JOIN pg_roles AS r ON r.rolname = m.member
        WHERE pg_has_role(current_user, r.oid, 'USAGE')
          -- The setting narrows; alone it chooses for those who are members by it only, and unset it chooses nothing.
          AND CASE WHEN m.by_setting THEN chosen IS NOT NULL ELSE chosen IS NULL OR m.collection = chosen END);
END
$$;
COMMENT ON FUNCTION @store@.my_collections() IS 'The collections that the current user sees once enable_row_security() was called.';

CREATE OR REPLACE FUNCTION @store@.enable_row_security() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    PERFORM @store@.disable_row_security();
    FOR name IN
        SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'collection'
        WHERE c.relnamespace = '@store@'::regnamespace AND c.relkind = 'r' AND c.relname <> 'memberships' ORDER BY 1
    LOOP
        -- Looked up once a query, not once a row.
        EXECUTE format('CREATE POLICY tenants ON @store@.%I USING (collection = ANY ((SELECT @store@.my_collections())::text[]))', name);
        EXECUTE format('ALTER TABLE @store@.%I ENABLE ROW LEVEL SECURITY', name);
    END LOOP;
    -- Whose tenants there are is nobody's business but the tenant's own.
    CREATE POLICY tenants ON @store@.memberships FOR SELECT
        USING (EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = member AND pg_has_role(current_user, r.oid, 'USAGE')));
    ALTER TABLE @store@.memberships ENABLE ROW LEVEL SECURITY;
END
$$;
COMMENT ON FUNCTION @store@.enable_row_security() IS
    'From now on a role sees and changes only the collections that speaker.memberships gives it, or gives a role that it is a member of. The store''s owner and superusers see everything. For the store''s owner.';

CREATE OR REPLACE FUNCTION @store@.disable_row_security() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
        WHERE c.relnamespace = '@store@'::regnamespace AND p.polname = 'tenants' ORDER BY 1
    LOOP
        EXECUTE format('DROP POLICY tenants ON @store@.%I', name);
        EXECUTE format('ALTER TABLE @store@.%I DISABLE ROW LEVEL SECURITY', name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION @store@.disable_row_security() IS 'Takes enable_row_security() back; policies of other names stay, and are not in force. For the store''s owner.';
