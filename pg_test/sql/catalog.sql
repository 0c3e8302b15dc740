-- What the catalog says of the functions of the extension, and that everything public is explained.
SELECT p.proname, p.provolatile AS volatile, p.proisstrict AS strict, p.proparallel AS parallel, p.procost AS cost, p.prorows AS rows
FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE e.extname = 'pg_speaker' AND d.classid = 'pg_proc'::regclass
  AND (p.proname !~ '^speaker_' OR p.proname IN ('speaker_centroid', 'speaker_similarity'))
ORDER BY p.proname, p.pronargs, pg_get_function_arguments(p.oid);
SELECT p.oid::regprocedure AS without_comment
FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE e.extname = 'pg_speaker' AND d.classid = 'pg_proc'::regclass AND p.proname !~ '_(state|final)$' AND obj_description(p.oid, 'pg_proc') IS NULL
ORDER BY 1;
SELECT oid::regclass AS without_comment FROM pg_class
WHERE relnamespace = 'speaker'::regnamespace AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL;

-- Every function of the store says where names are looked up; a procedure that commits cannot, and an ATOMIC body has bound them.
CREATE TEMP VIEW routines AS
SELECT p.*, n.nspowner FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'speaker';
SELECT count(*) > 80 AS enough FROM routines;
SELECT oid::regprocedure AS no_search_path FROM routines
WHERE NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(proconfig, '{}')) AND prokind <> 'p' AND prosqlbody IS NULL;
-- Who runs with the rights of the owner is a trigger, for everyone but the owner, who is no superuser.
SELECT oid::regprocedure AS definer FROM routines
WHERE prosecdef AND (prorettype <> 'trigger'::regtype
                     OR EXISTS (SELECT FROM aclexplode(proacl) AS a WHERE a.grantee <> proowner)
                     OR (SELECT rolsuper FROM pg_roles AS r WHERE r.oid = proowner));
-- A body of a definer checks the table that it fires for.
SELECT oid::regprocedure AS unbound FROM routines WHERE prosecdef AND prosrc !~ 'TG_RELID';
-- PUBLIC may execute nothing, and those with access not what is the owner's.
SELECT oid::regprocedure AS public FROM routines WHERE proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) AS a WHERE a.grantee = 0);
SELECT oid::regprocedure AS owners FROM routines
WHERE proname = ANY (speaker.owners_functions()) AND (has_function_privilege('regress_app', oid, 'EXECUTE') OR has_function_privilege('regress_reader', oid, 'EXECUTE'));
SELECT count(*) AS definers_of_the_extension
FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE e.extname = 'pg_speaker' AND p.prosecdef;
-- Views are their readers'.
SELECT oid::regclass AS view FROM pg_class
WHERE relnamespace = 'speaker'::regnamespace AND relkind = 'v' AND NOT 'security_invoker=true' = ANY (coalesce(reloptions, '{}'));
-- Nothing of the store depends on the extension.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS goes_with_the_extension
FROM pg_depend AS d
JOIN pg_depend AS m ON (m.classid, m.objid) = (d.refclassid, d.refobjid) AND m.deptype = 'e'
JOIN pg_extension AS e ON e.oid = m.refobjid AND e.extname = 'pg_speaker'
WHERE d.deptype <> 'e' AND NOT EXISTS (SELECT FROM pg_depend AS x WHERE (x.classid, x.objid) = (d.classid, d.objid) AND x.refobjid = e.oid AND x.deptype = 'e')
  AND d.classid NOT IN ('pg_cast'::regclass, 'pg_type'::regclass, 'pg_class'::regclass);
-- Every key of a tenant's table has the collection, and the derived, the ledger and the history nobody writes.
SELECT conrelid::regclass AS relation, conname FROM pg_constraint AS c
WHERE connamespace = 'speaker'::regnamespace AND contype IN ('p', 'f', 'u')
  AND conrelid NOT IN ('speaker.models'::regclass, 'speaker.migrations'::regclass, 'speaker.memberships'::regclass)
  AND coalesce(confrelid, 0) <> 'speaker.models'::regclass
  AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = conrelid AND a.attname = 'collection' AND a.attnum = ANY (conkey));
SELECT t.name, p.privilege FROM unnest('{embedding_jobs, assignments, speaker_centroids, tallies, models, migrations, memberships}'::text[]) AS t (name),
     unnest('{INSERT, UPDATE, DELETE, TRUNCATE}'::text[]) AS p (privilege)
WHERE has_table_privilege('regress_app', 'speaker.' || t.name, p.privilege)
   OR p.privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege('regress_app', 'speaker.' || t.name, p.privilege);
SELECT a.attrelid::regclass AS relation, a.attname AS may_be_set FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'speaker'::regnamespace AND c.relkind = 'r' AND a.attname IN ('id', 'sha256', 'named_by', 'lease', 'pid')
  AND (has_column_privilege('regress_app', c.oid, a.attname, 'INSERT') OR has_column_privilege('regress_app', c.oid, a.attname, 'UPDATE'));

DROP OWNED BY regress_app, regress_reader;
DROP OWNED BY regress_owner;
DROP ROLE regress_owner, regress_app, regress_reader, regress_stranger;
