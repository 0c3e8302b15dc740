"""What is attacked: databases with stores of every kind of owner, roles of every kind, and somebody else's data in them."""

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

FIXTURES = Path(__file__).parents[2] / "fixtures"

# Owner: owns nothing but a schema. Squatter: may make schemas. Dbowner: owns a database, and so its schema public.
ROLES = ("owner", "writer", "reader", "stranger", "squatter", "dbowner", "victim", "tenant", "member", "pool")
# Nobody logs in as these.
GROUPS = ("group", "namer")
VECTOR = "pg_catalog.array_fill({}::real, ARRAY[256])::public.vector"


def audio(name):
    return (FIXTURES / f"{name}.flac").read_bytes()


def turns(name, count):
    return json.dumps(json.loads((FIXTURES / f"{name}.pyannote.json").read_text())[:count])


def role(name):
    return f"attack_{name}"


@dataclass(frozen=True)
class Target:
    """Names and ids that an attempt aims at: of somebody, of oneself, or of nobody."""

    collection: str
    recording: str
    recording_id: int
    run_id: int
    segment_id: int
    speaker: str
    speaker_id: int
    clustering_id: int
    cluster: str
    batch: int
    lease: int
    member: str


# The victim's, and what there is not. Ids of a store start where FIRST says, so that each can be told from all other numbers.
MARK = "zebra"
NOBODY = Target("quagga", "quagga-call", 999001, 999002, 999003, "Quagga", 999004, 999005, "A", 999007, 999006, "attack_quagga")
FIRST = {"recordings": 110001, "runs": 120001, "segments": 130001, "speakers": 140001, "clusterings": 150001, "label_batches": 170001}
LEASES = 160001


class World:
    def __init__(self, server):
        self.server = server
        self.made = []
        self.admin = self.connect("postgres", "postgres")
        self.admin.execute("SET client_min_messages = error")

    def connect(self, database, user, autocommit=True, **settings):
        options = " ".join(f"-c {name.replace('__', '.')}={value}" for name, value in settings.items())
        name = user if user == "postgres" else role(user)
        connection = psycopg.connect(make_conninfo(self.server, dbname=database, user=name, options=options), autocommit=autocommit)
        connection.prepare_threshold = None
        return connection

    def make_roles(self):
        self.drop_roles()
        for name in ROLES:
            self.admin.execute(f"CREATE ROLE {role(name)} LOGIN")
        for name in GROUPS:
            self.admin.execute(f"CREATE ROLE {role(name)}")
        self.admin.execute(f"GRANT {role('group')} TO {role('member')}")

    def drop_roles(self):
        for name in ROLES + GROUPS:
            self.admin.execute(f"DROP ROLE IF EXISTS {role(name)}")

    def make_database(self, name, owner="postgres"):
        self.admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 OWNER {owner if owner == 'postgres' else role(owner)}")
        self.made.append(name)
        return name

    def make_store(self, name, owner):
        """A database with a store of this role, its roles, and schemas of the attackers' own on the search path."""
        self.make_database(name)
        with self.connect(name, "postgres", client_min_messages="warning") as admin:
            admin.execute("CREATE EXTENSION pg_speaker CASCADE")
            if owner != "postgres":
                admin.execute(f"CREATE SCHEMA speaker AUTHORIZATION {role(owner)}")
            for attacker in ("writer", "reader", "stranger", "squatter", "tenant"):
                admin.execute(f"CREATE SCHEMA {role(attacker)} AUTHORIZATION {role(attacker)}")
                admin.execute(f"GRANT USAGE ON SCHEMA {role(attacker)} TO PUBLIC")
            admin.execute(f"GRANT CREATE ON DATABASE {name} TO {role('squatter')}")
            admin.execute("SET check_function_bodies = off")
            admin.execute(PROBE)
        with self.connect(name, owner, client_min_messages="warning") as connection:
            connection.execute("SELECT create_speaker_store()")
            for writer in ("writer", "victim", "tenant", "group", "pool"):
                connection.execute(f"SELECT speaker.grant_access('{role(writer)}')")
            connection.execute(f"SELECT speaker.grant_access('{role('reader')}', 'read')")
            for table, first in FIRST.items():
                connection.execute(f"ALTER TABLE speaker.{table} ALTER id RESTART WITH {first}")
            connection.execute(f"ALTER TABLE speaker.embedding_claims ALTER lease RESTART WITH {LEASES}")
        return name

    def fill(self, database, user, name):
        """Everything that a store can have, of this role in a collection of this name."""
        title = name.capitalize()
        with self.connect(database, user, speaker__collection=name) as connection:
            run_id = connection.execute(
                "SELECT run_id FROM speaker.ingest_recording(%s, %s, %s, parameters => %s)",
                [f"{name}-call", audio("meeting"), turns("meeting", 6), json.dumps({"of": name})],
            ).fetchone()[0]
            segments = [row[0] for row in connection.execute("SELECT id FROM speaker.segments WHERE run_id = %s ORDER BY id", [run_id])]
            for number in range(8):
                connection.execute(f"SELECT speaker.add_speaker_embedding('{title}', {VECTOR.format(number + 1)})")
            clustering_id = connection.execute(
                "SELECT clustering_id FROM speaker.cluster_unlabeled(%s, 2)", [run_id]
            ).fetchone()[0]
            connection.execute("UPDATE speaker.cluster_members SET cluster = 'A' WHERE clustering_id = %s", [clustering_id])
            connection.execute("SELECT speaker.label_segment(%s, %s)", [segments[0], title])
            batch = connection.execute("SELECT label_batch FROM speaker.segments WHERE id = %s", [segments[0]]).fetchone()[0]
            connection.execute("SELECT speaker.label_segment(%s, %s)", [segments[1], f"{title} Two"])
            connection.execute("SELECT speaker.merge_speakers(%s, %s)", [f"{title} Two", title])
            connection.execute("SELECT speaker.unlabel_segment(%s)", [segments[1]])
            connection.execute("UPDATE speaker.segments SET text = %s WHERE id = ANY (%s)", [f"{name} says", segments])
            connection.execute("UPDATE speaker.recordings SET metadata = %s", [json.dumps({"of": name})])
            lease = connection.execute(
                "INSERT INTO speaker.embedding_claims (collection, model_id, step, segments) "
                "VALUES (%s, 1, 'recover', %s) RETURNING lease", [name, segments]
            ).fetchone()[0]
            recording_id, speaker_id = connection.execute(
                "SELECT (SELECT id FROM speaker.recordings WHERE external_id = %s), (SELECT id FROM speaker.speakers WHERE name = %s)",
                [f"{name}-call", title],
            ).fetchone()
        return Target(name, f"{name}-call", recording_id, run_id, segments[0], title, speaker_id, clustering_id, "A", batch, lease, role(user))

    def end(self):
        for name in self.made:
            self.admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.drop_roles()


@contextmanager
def undone(connection):
    """What happens within is rolled back."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


# What a store is, and what is in it, whoever asks, as it is at this point of the asker's transaction. Made by the superuser,
# outside of the store; anybody may call it.
PROBE = """
CREATE SCHEMA probe;
GRANT USAGE ON SCHEMA probe TO PUBLIC;
CREATE FUNCTION probe.content(home text) RETURNS TABLE (what text, digest text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation record;
BEGIN
    FOR relation IN
        -- Audio by its hash, which is another column.
        SELECT c.relname, bool_or(a.attname = 'collection') AS has_home,
               string_agg(format(CASE a.attname WHEN 'audio' THEN 'length(%I)' ELSE '%I' END, a.attname), ', ' ORDER BY a.attnum) AS columns
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'speaker'::regnamespace AND c.relkind = 'r' GROUP BY 1 ORDER BY 1
    LOOP
        CONTINUE WHEN home IS NOT NULL AND NOT relation.has_home;
        RETURN QUERY EXECUTE format(
            'SELECT %L, md5(string_agg(t::text, E''\\n'' ORDER BY t::text)) FROM (SELECT %s FROM speaker.%I %s) AS t', relation.relname,
            relation.columns, relation.relname, CASE WHEN home IS NOT NULL THEN format('WHERE collection = %L', home) END);
    END LOOP;
END $$;
CREATE FUNCTION probe.schema() RETURNS TABLE (what text, digest text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'roles', md5(string_agg(concat(rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication), ',' ORDER BY oid))
    FROM pg_roles
    UNION ALL SELECT 'members', md5(string_agg(m::text, ',' ORDER BY m::text)) FROM pg_auth_members AS m
    UNION ALL SELECT 'relations', md5(string_agg(concat(oid, relowner, relacl, relrowsecurity, relhastriggers, relhasrules), ',' ORDER BY oid))
    FROM pg_class WHERE relnamespace = 'speaker'::regnamespace AND relkind <> 'S'
    UNION ALL SELECT 'columns', md5(string_agg(concat(attrelid, attnum, attacl, attnotnull, attgenerated, attidentity), ',' ORDER BY attrelid, attnum))
    FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'speaker'::regnamespace)
    UNION ALL SELECT 'functions', md5(string_agg(concat(oid, proowner, proacl, prosrc, proconfig), ',' ORDER BY oid))
    FROM pg_proc WHERE pronamespace IN ('speaker'::regnamespace, 'public'::regnamespace)
    UNION ALL SELECT 'triggers', md5(string_agg(concat(oid, tgenabled, tgfoid), ',' ORDER BY oid))
    FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'speaker'::regnamespace)
    UNION ALL SELECT 'policies', md5(string_agg(concat(oid, polname), ',' ORDER BY oid)) FROM pg_policy
    UNION ALL SELECT 'schemas', md5(string_agg(concat(oid, nspname, nspowner, nspacl), ',' ORDER BY oid))
    FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
    UNION ALL SELECT 'extensions', md5(string_agg(e::text, ',' ORDER BY oid)) FROM pg_extension AS e $$;
"""


def content(connection, home=None):
    return dict(connection.execute("SELECT * FROM probe.content(%s::pg_catalog.text)", [home]).fetchall())


def definitions(connection):
    return dict(connection.execute("SELECT * FROM probe.schema()").fetchall())


def changed(before, after):
    return [what for what in before.keys() | after.keys() if before.get(what) != after.get(what)]
