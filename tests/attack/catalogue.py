"""What has to be so of every function and table of a store, and of the extension: asked of the catalog, so that whatever is new is
asked too. Each query answers what is wrong."""

import re

from history import FACTS, KEPT
from world import undone

ROUTINES = """
CREATE TEMP VIEW routines AS
SELECT p.*, p.oid::regprocedure::text AS name, l.lanname, n.nspowner,
       CASE WHEN n.nspname = 'speaker' THEN 'store' ELSE 'extension' END AS part
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
WHERE n.nspname = 'speaker' OR EXISTS (
    SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' AND e.extname = 'pg_speaker');
CREATE TEMP VIEW relations AS
SELECT c.*, EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'collection') AS has_collection
FROM pg_class AS c WHERE c.relnamespace = 'speaker'::regnamespace;
CREATE TEMP VIEW grants AS
SELECT 'relation ' || c.relname AS name, c.relkind, a.* FROM relations AS c, aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner
UNION ALL
SELECT 'column ' || c.relname || '.' || t.attname, c.relkind, a.* FROM relations AS c JOIN pg_attribute AS t ON t.attrelid = c.oid,
       aclexplode(t.attacl) AS a WHERE a.grantee <> c.relowner;
"""

FUNCTIONS = {
    "there are functions to look at": "SELECT count(*) FROM routines HAVING count(*) < 130",
    "search_path of what is text": """
        SELECT name, proconfig FROM routines
        WHERE prokind = 'f' AND lanname IN ('plpgsql', 'sql') AND prosqlbody IS NULL
          AND ('search_path=pg_catalog, pg_temp' = ANY (proconfig)) IS NOT TRUE""",
    "no setting but these": """
        SELECT name, c FROM routines, unnest(proconfig) AS c
        WHERE split_part(c, '=', 1) NOT IN ('search_path', 'lock_timeout', 'enable_sort', 'client_min_messages')""",
    "nothing runs as a superuser": """
        SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner
        WHERE p.prosecdef AND r.rolsuper AND p.pronamespace <> 'probe'::regnamespace""",
    "nothing of the extension runs as its owner": "SELECT name FROM routines WHERE prosecdef AND part = 'extension'",
    "who runs as the owner is a trigger of its table": """
        SELECT name FROM routines
        WHERE prosecdef AND (prorettype <> 'trigger'::regtype OR prosrc !~ 'check_table\\(TG_RELID')""",
    "whoever may hang up a trigger": """
        SELECT name, a.grantee::regrole FROM routines, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a
        WHERE prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AND a.grantee <> proowner""",
    "PUBLIC may execute": """
        SELECT name FROM routines, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a
        WHERE part = 'store' AND a.grantee = 0""",
    "whoever may execute and is not listed, or is and may not": """
        SELECT name, r FROM routines, unnest('{attack_writer, attack_reader, attack_stranger}'::regrole[]) AS r
        WHERE part = 'store' AND has_function_privilege(r, oid, 'EXECUTE')
           <> (r <> 'attack_stranger'::regrole AND oid IN (SELECT c.routine FROM speaker.callable() AS c (routine)))""",
    "the owner's own are listed": """
        SELECT name FROM routines WHERE part = 'store' AND proname = ANY (speaker.owners_functions())
          AND oid IN (SELECT c.routine FROM speaker.callable() AS c (routine))""",
    "somebody else's in the store": "SELECT name FROM routines WHERE part = 'store' AND proowner <> nspowner",
}

TABLES = {
    "the owner is no superuser": """
        SELECT n.nspowner::regrole FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
        WHERE n.nspname = 'speaker' AND r.rolsuper""",
    "whoever may create in the store": """
        SELECT a.grantee::regrole FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
        WHERE n.nspname = 'speaker' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner""",
    "somebody else's": """
        SELECT c.relname FROM relations AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relowner <> n.nspowner""",
    "what would go with an extension": """
        SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
        WHERE deptype = 'e' AND (classid = 'pg_class'::regclass AND objid IN (SELECT oid FROM relations)
                                 OR classid = 'pg_proc'::regclass AND objid IN (SELECT oid FROM routines WHERE part = 'store'))""",
    "ids are generated, always": """
        SELECT attrelid::regclass, attname FROM pg_attribute
        WHERE attrelid IN (SELECT oid FROM relations WHERE relkind = 'r') AND attnum > 0
          AND (attidentity = 'd' OR attname IN ('id', 'lease') AND attidentity = ''
               AND attrelid <> 'speaker.embedding_jobs'::regclass)""",
    "a table without a collection": """
        SELECT relname FROM relations WHERE relkind IN ('r', 'p') AND relname NOT IN ('models', 'migrations')
          AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = oid AND a.attname = 'collection'
                            AND (a.attnotnull OR relname = 'memberships'))""",
    "a key without the collection": """
        SELECT conrelid::regclass, conname FROM pg_constraint
        WHERE connamespace = 'speaker'::regnamespace AND contype IN ('p', 'f', 'u')
          AND conrelid NOT IN ('speaker.models'::regclass, 'speaker.migrations'::regclass)
          AND confrelid <> 'speaker.models'::regclass
          AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = conrelid AND attname = 'collection' AND attnum = ANY (conkey))""",
    "a key that changes what it leaves": """
        SELECT conrelid::regclass, conname FROM pg_constraint
        WHERE connamespace = 'speaker'::regnamespace AND contype = 'f' AND (confdeltype IN ('n', 'd') OR confupdtype <> 'a')""",
    "a view that is not its reader's": """
        SELECT relname FROM relations WHERE relkind = 'v' AND ('security_invoker=true' = ANY (reloptions)) IS NOT TRUE""",
    "a function of somebody else in a default, check, index or view": """
        SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), p.oid::regprocedure
        FROM pg_depend AS d JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
        JOIN pg_namespace AS n ON n.nspname = 'speaker'
        WHERE d.classid IN ('pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass, 'pg_rewrite'::regclass,
                            'pg_policy'::regclass, 'pg_trigger'::regclass)
          AND p.oid >= 16384 AND p.proowner <> n.nspowner AND NOT EXISTS (
              SELECT FROM pg_depend AS m JOIN pg_extension AS e ON e.oid = m.refobjid AND m.deptype = 'e'
              WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid AND e.extname = 'vector')""",
    "a right that nobody needs": """
        SELECT name, privilege_type, grantee FROM grants
        WHERE is_grantable OR grantee = 0 OR relkind = 'S'
           OR privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
           -- What is written into speaker_embeddings goes through its trigger, with the writer's own rights.
           OR relkind = 'v' AND privilege_type <> 'SELECT' AND name <> 'relation speaker_embeddings'""",
    "what is kept may be written": f"""
        SELECT name, privilege_type FROM grants
        WHERE privilege_type <> 'SELECT' AND (
            split_part(split_part(name, ' ', 2), '.', 1) = ANY ('{{{",".join(KEPT)}}}')
            OR split_part(name, '.', 2) = ANY ('{{{",".join(FACTS)}}}')
            OR privilege_type = 'UPDATE' AND name ~ '\\.collection$')""",
    "a reader may write": """
        SELECT name, privilege_type FROM grants WHERE grantee = 'attack_reader'::regrole AND privilege_type <> 'SELECT'""",
}

# A procedure that commits can have no search_path, so it has no operator, and qualifies all that it calls.
SHELL = re.compile(
    r"(DECLARE|BEGIN|END;?|LOOP|END LOOP;|IF b\.\w+ THEN|END IF;|--.*|COMMIT;|SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
    r"|EXIT WHEN b\.\w+;|b speaker\.\w+;|\w+ := b\.\w+;"
    r"|(b :=|PERFORM) speaker\.\w+\((\w+(, \w+)*|public\.speaker_can_commit\(\))\);)?")

# Once it is on.
ROW_SECURITY = {
    "a table without row security": """
        SELECT relname FROM relations WHERE relkind IN ('r', 'p') AND has_collection AND NOT relrowsecurity""",
    "a table without its policy": """
        SELECT relname FROM relations AS c WHERE relkind IN ('r', 'p') AND has_collection AND NOT EXISTS (
            SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'tenants' AND p.polpermissive
              AND p.polcmd = CASE WHEN c.relname = 'memberships' THEN 'r' ELSE '*' END)""",
    "the owner's triggers would see less": "SELECT relname FROM relations WHERE relforcerowsecurity",
}


def ask(attempts, connection, queries):
    for name, query in queries.items():
        wrong = connection.execute(query).fetchall()
        attempts.check(name, f"{wrong}" if wrong else None)


def shells(attempts, connection):
    procedures = connection.execute("SELECT name, prosrc, prosecdef FROM routines WHERE prokind = 'p'").fetchall()
    for name, source, definer in procedures:
        wrong = [line for line in source.splitlines() if not SHELL.fullmatch(line.strip())]
        attempts.check(f"{name} is a shell, and its caller's", f"{wrong}" if wrong or definer else None)


def catalogue(attempts, world, database):
    with world.connect(database, "postgres") as connection:
        connection.execute(ROUTINES)
        ask(attempts, connection, FUNCTIONS)
        shells(attempts, connection)
        ask(attempts, connection, TABLES)
        with undone(connection):
            connection.execute("SELECT speaker.enable_row_security()")
            ask(attempts, connection, ROW_SECURITY)
