-- What the catalog says of the functions, and that everything is explained.
SELECT p.proname, p.provolatile AS volatile, p.proisstrict AS strict, p.proparallel AS parallel, p.procost AS cost, p.prorows AS rows
FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE e.extname = 'pg_speaker' AND p.pronamespace = 'public'::regnamespace
ORDER BY p.proname, p.pronargs, pg_get_function_arguments(p.oid);
SELECT p.oid::regprocedure AS without_comment
FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE e.extname = 'pg_speaker' AND p.pronamespace = 'public'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT oid::regclass AS without_comment FROM pg_class
WHERE relnamespace = 'speaker'::regnamespace AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL;
SELECT proname AS no_search_path FROM pg_proc JOIN pg_language AS l ON l.oid = prolang
WHERE pronamespace = 'speaker'::regnamespace AND lanname = 'plpgsql' AND proconfig IS NULL;
-- Who runs with the rights of the owner says where names are looked up, and is a trigger or not for everyone.
SELECT proname AS unsafe FROM pg_proc
WHERE pronamespace IN ('speaker'::regnamespace, 'public'::regnamespace) AND prosecdef
  AND (NOT coalesce(proconfig::text LIKE '%search_path=%pg_temp%', false)
       OR prorettype <> 'trigger'::regtype AND has_function_privilege('regress_app', oid, 'EXECUTE'));
DROP OWNED BY regress_app, regress_reader;
DROP ROLE regress_app, regress_reader, regress_stranger;
