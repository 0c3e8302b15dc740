//! What the install script checks before it makes anything, and what it says at its end.
//!
//! It runs as a superuser, in a schema whose owner may be anybody and may have put objects there first. So every SQL
//! text of this crate qualifies the functions, casts and operators that it uses; it is the type `vector` that has to be
//! found by the search path, because pgvector may be in any schema.

use pgrx::prelude::*;

extension_sql!(
    r#"
DO $check$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING
            ERRCODE = '0A000',
            MESSAGE = 'the encoding of the database is not UTF8',
            DETAIL = 'error code: encoding',
            HINT = 'Use a database that was created with ENCODING ''UTF8''.';
    END IF;
    IF pg_catalog.to_regclass('@extschema@.embedding_claims') IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = '42P06',
            MESSAGE = 'schema "@extschema@" has a store, which is not the place of the extension',
            DETAIL = 'error code: store_exists',
            HINT = 'Name another schema: CREATE EXTENSION pg_speaker SCHEMA public.';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_extension AS e
            ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
            AND d.refobjid OPERATOR(pg_catalog.=) e.oid
        WHERE e.extname OPERATOR(pg_catalog.=) 'vector'
          AND d.deptype OPERATOR(pg_catalog.=) 'e'
          AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
          AND d.objid OPERATOR(pg_catalog.=) pg_catalog.to_regtype('vector')::pg_catalog.oid
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = '42710',
            MESSAGE = 'the schema that takes pg_speaker has a type "vector" of its own, which hides that of the extension vector',
            HINT = 'Remove that type, or use another schema: CREATE EXTENSION pg_speaker SCHEMA name.';
    END IF;
END
$check$;
"#,
    name = "check",
    bootstrap,
);

// Scripts of extensions have their notices suppressed. This one is shown to sessions that show notices, as far as a
// script can tell: by the value that the session began with.
extension_sql!(
    r#"
DO $done$
BEGIN
    PERFORM pg_catalog.set_config(s.name, s.reset_val, true)
    FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) 'client_min_messages';
    RAISE NOTICE USING
        MESSAGE = 'pg_speaker is installed; SELECT create_speaker_store(); makes the tables in schema speaker';
END
$done$;
"#,
    name = "next_step",
    finalize,
);
