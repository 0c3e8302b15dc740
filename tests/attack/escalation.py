"""Every way to rights of the store's owner or of a superuser that goes through what the store and the extension have: their
functions called by hand, their triggers on other tables, other objects on their tables, their maintenance."""

from itertools import count

import psycopg

from arguments import call, functions
from attempts import DENIED, loot
from world import role

# What a trigger function fires for: none of these is its table.
TABLE = "CREATE TABLE attack_{who}.{name} (id bigint, segment_id bigint, model_id int, collection text, speaker_id bigint, name text)"
OTHERS = ("stranger", "reader", "writer")
FORBIDDEN = ("42501", "42883", "0A000", "3F000", "42P01")

# Functions of the extension: arguments by type, such as mean somebody else or something elsewhere.
HOSTILE = {
    "oid": "'speaker.embedding_claims'::regclass", "integer": "1", "bigint": "1", "boolean": "true", "name": "'speaker'",
    "text": "'../../../../../../etc/passwd'", "double precision": "1", "bytea": "'\\x00'::bytea", "real[]": "NULL",
    "timestamp with time zone": "now()",
}


def extension_functions(connection):
    return connection.execute(
        "SELECT p.oid::regprocedure::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) "
        "FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' "
        "JOIN pg_extension AS e ON e.oid = d.refobjid "
        "WHERE e.extname = 'pg_speaker' AND p.prokind = 'f' AND 'internal'::regtype <> ALL (p.proargtypes::oid[]) ORDER BY 1").fetchall()


def by_hand(attempts, connection, who, every, victim):
    """Functions of the store that are not for this role, and triggers for nobody."""
    for function in every:
        if function.kind != "p" and (who == "stranger" or not function.callable):
            attempts.escalate(connection, who, function.signature, call(function, victim))
    for (name,) in triggers(connection):
        attempts.escalate(connection, who, f"{name} by hand", f"SELECT {name}", ("42501", "0A000"))


def triggers(connection):
    return connection.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'speaker'::regnamespace "
        "AND prorettype = 'trigger'::regtype ORDER BY 1").fetchall()


def hung_up(attempts, connection, who):
    """A trigger function of the store on a table of one's own."""
    names = count()
    for (function,) in triggers(connection):
        for event in ("BEFORE INSERT", "AFTER DELETE"):
            name = f"t{next(names)}"
            attempts.escalate(connection, who, f"{function} {event}", [
                TABLE.format(who=who, name=name),
                f"CREATE TRIGGER t {event} ON attack_{who}.{name} FOR EACH ROW EXECUTE FUNCTION {function}"])


def with_own_rights(attempts, connection, who):
    """The functions of the extension are for everybody, and do nothing that their caller may not do."""
    for signature, types in extension_functions(connection):
        values = ", ".join(HOSTILE.get(each, f"NULL::{each}") for each in types)
        connection.execute("BEGIN")
        before, locks = 0, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        try:
            connection.execute(f"SELECT * FROM {signature.split('(')[0]}({values})")
            before = connection.execute(locks).fetchone()[0]
            fault = "it took a lock of the store" if before else None
        except psycopg.Error as error:
            fault = "it read /etc/passwd" if "root:" in str(error) else None
        finally:
            connection.execute("ROLLBACK")
        attempts.count("escalations", who, signature, fault)
    for target in ("postgres", role("owner"), "pg_database_owner", role("victim"), "pg_read_server_files"):
        attempts.escalate(connection, who, f"run as {target}",
                          f"SELECT speaker_run_as('{target}'::regrole, 'SELECT 1')")
    attempts.escalate(connection, who, "out of run_as", f"SELECT speaker_run_as('{role(who)}'::regrole, 'RESET ROLE')")


def on_its_tables(attempts, connection, who):
    """What one hangs on the tables and functions of the store."""
    relations = connection.execute(
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'speaker'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1").fetchall()
    connection.execute(f"CREATE OR REPLACE FUNCTION attack_{who}.fires() RETURNS trigger LANGUAGE plpgsql AS "
                       f"$$BEGIN {loot(who)} RETURN NEW; END$$")
    for name, kind in relations:
        ways = {
            "a rule": f"CREATE RULE hostile AS ON {'INSERT' if kind == 'v' else 'UPDATE'} TO speaker.{name} DO ALSO NOTHING",
            "a trigger": f"CREATE TRIGGER hostile {'INSTEAD OF' if kind == 'v' else 'BEFORE'} INSERT ON speaker.{name} "
                         f"FOR EACH ROW EXECUTE FUNCTION attack_{who}.fires()",
            "another owner": f"ALTER {'VIEW' if kind == 'v' else 'TABLE'} speaker.{name} OWNER TO {role(who)}",
            "another name": f"ALTER {'VIEW' if kind == 'v' else 'TABLE'} speaker.{name} RENAME TO other",
            "a grant": f"GRANT ALL ON speaker.{name} TO PUBLIC",
        }
        if kind == "r":
            ways |= {
                "an index": f"CREATE INDEX ON speaker.{name} ((attack_{who}.fires()))",
                "a policy": f"CREATE POLICY hostile ON speaker.{name} USING (true)",
                "row security off": f"ALTER TABLE speaker.{name} DISABLE ROW LEVEL SECURITY",
                "a column": f"ALTER TABLE speaker.{name} ADD COLUMN hostile int DEFAULT 1",
                "a child": f"CREATE TABLE attack_{who}.child () INHERITS (speaker.{name})",
                "statistics": f"CREATE STATISTICS attack_{who}.hostile ON (ctid::text) FROM speaker.{name}",
            }
        for way, statement in ways.items():
            # Who has some rights and may pass on none gets a warning.
            attempts.escalate(connection, who, f"{way} on {name}", statement, DENIED + (None,) if way == "a grant" else DENIED)
    for table, key in (("segments", "id, collection"), ("recordings", "id, collection"), ("models", "id")):
        columns = key.replace("id", "id bigint", 1).replace("collection", "collection text")
        attempts.escalate(connection, who, f"a foreign key to {table}",
                          f"CREATE TABLE attack_{who}.child ({columns}, FOREIGN KEY ({key}) REFERENCES speaker.{table} ({key}))")


def the_store(attempts, connection, who):
    """Its maintenance, its schema and the extension, by others."""
    theirs = DENIED + ("P0001", "2BP01", "42P06", "42710")
    for name, statement in {
        "an upgrade": "SELECT upgrade_speaker_store()",
        "a downgrade": "SELECT downgrade_speaker_store()",
        "the upgrade's work": "SELECT speaker_upgrade_own_store('speaker')",
        "the downgrade's work": "SELECT speaker_downgrade_own_store('speaker', 0)",
        "the store once more": "SELECT create_speaker_store()",
        "a function in the store": f"CREATE FUNCTION speaker.format(text, text) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
        "a table in the store": "CREATE TABLE speaker.restored_triggers (relation name, trigger name, enabled \"char\")",
        "a function of it anew": "CREATE OR REPLACE FUNCTION speaker.max_crashes() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "its schema's name": "ALTER SCHEMA speaker RENAME TO other",
        "its schema": "DROP SCHEMA speaker CASCADE",
        "the extension's end": "DROP EXTENSION pg_speaker",
        "the extension's schema": "ALTER EXTENSION pg_speaker SET SCHEMA public",
        "the vector's end": "DROP EXTENSION vector CASCADE",
        "the store in the extension": "ALTER EXTENSION pg_speaker ADD TABLE speaker.segments",
        "a function out of the extension": "ALTER EXTENSION pg_speaker DROP FUNCTION speaker_run_as(oid, text)",
        "an event trigger": f"CREATE EVENT TRIGGER hostile ON ddl_command_end EXECUTE FUNCTION attack_{who}.fires()",
        "a subscription": "CREATE PUBLICATION hostile FOR TABLE speaker.segments",
        "the owner's role": "SET ROLE pg_database_owner",
        "the other owner's role": f"SET ROLE {role('owner')}",
        "the superuser's role": "SET ROLE postgres",
        "a superuser's setting": "SET speaker.audio_dir = '/'",
        "a superuser's setting for the role": f"ALTER ROLE {role(who)} SET speaker.audio_dir = '/'",
        "a superuser's setting by a function": f"CREATE FUNCTION attack_{who}.s() RETURNS int LANGUAGE sql SET speaker.model_dir = '/' RETURN 1",
    }.items():
        attempts.escalate(connection, who, name, statement, theirs)


def settings_before_the_library(attempts, world, database, who):
    """What is set before the library is there is no more than a name, until it comes."""
    with world.connect(database, "postgres") as admin:
        admin.execute("SELECT speaker_default_model()")
        own = admin.execute("SELECT name, reset_val FROM pg_settings WHERE name ~ '^speaker[.]' AND context IN ('superuser', 'sighup', 'postmaster')").fetchall()
    for name, value in own:
        with world.connect(database, who, **{name.replace(".", "__"): "/tmp"}) as connection:
            connection.execute("SELECT speaker_default_model()")
            got = connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0]
        shown = "/tmp" in got or got == "/tmp"
        attempts.count("escalations", who, f"{name} at the start of a session", f"it is {got}" if shown and got != value else None)
    attempts.check("settings that are a superuser's", None if len(own) >= 3 else f"only {own}")


def escalation(attempts, world, database, owner, victim):
    with world.connect(database, owner) as connection:
        every = functions(connection)
    for who in OTHERS:
        with world.connect(database, who) as connection:
            attempts.listen(connection, who)
            by_hand(attempts, connection, who, every, victim)
            with_own_rights(attempts, connection, who)
            hung_up(attempts, connection, who)
            on_its_tables(attempts, connection, who)
            the_store(attempts, connection, who)
        settings_before_the_library(attempts, world, database, who)
