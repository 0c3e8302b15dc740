"""Whoever was there first: objects in the extension's schema and in the store's when a superuser makes them, and what the owner of a
store has put in the way of a superuser who upgrades it."""

import itertools

from arguments import call, functions
from attempts import ESCALATION, loot
from shadows import statements
from traps import BETTER, function, make
from world import MARK, role, undone

DBOWNER, DATABASE = "dbowner", "attack_public"
# Nearly the types that a function is declared with: where a call is not exact, one of these is better.
NEAR = {
    "text": ("varchar", "name"), "integer": ("smallint", "bigint"), "bigint": ("integer", "numeric"), "oid": ("regclass", "integer"),
    "double precision": ("numeric", "integer", "real"), "bytea": ("text",), "name": ("text",), "vector": ("real[]",), "boolean": ("text",),
    "double precision[]": ("numeric[]",), "text[]": ("varchar[]",), "regclass": ("text",), "cstring": ("text",), '"any"': ("text", "bigint"),
}
# A store that has had no migration yet.
YOUNG = ("CREATE TABLE speaker.migrations (number int PRIMARY KEY, name text, library_version text, applied_at timestamptz DEFAULT now())")
SIGNATURES = """
SELECT p.proname, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t), p.pronargdefaults
FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE e.extname = 'pg_speaker' OR e.extname = 'vector' AND p.proname IN
    ('vector_dims', 'vector_norm', 'l2_normalize', 'cosine_distance', 'inner_product', 'array_to_vector', 'vector')
"""


def near(types):
    """The signatures that differ in one type, and those that differ in all."""
    for place, each in enumerate(types):
        for other in NEAR.get(each, ()):
            yield types[:place] + [other] + types[place + 1:]
    yield from map(list, itertools.islice(itertools.product(*(NEAR.get(each, (each,)) for each in types)), 4))


def rivals(connection, attacker):
    """Functions beside the extension's, and shorter ones that hide its defaults."""
    made = 0
    for name, types, defaults in connection.execute(SIGNATURES).fetchall():
        shorter = [types[:len(types) - less] for less in range(1, defaults + 1)]
        for signature in itertools.chain(near(types), shorter):
            made += make(connection, function("public", name, ", ".join(signature), "text", attacker))
    for name, variants in BETTER.items():
        for arguments in variants:
            made += make(connection, function("public", name, arguments, "text", attacker))
    return made


def heard(attempts, who, name, connection, statement):
    """Runs it; what matters is not whether it passes but whose code ran on the way, and as whom."""
    attempts.loots.clear()
    make(connection, statement)
    attempts.count(ESCALATION, who, name, "; ".join(attempts.loots) or None)


def beside_the_extension(attempts, world):
    """The owner of a database owns the schema public, where the extension is; a store in it is another role's."""
    world.make_database(DATABASE, DBOWNER)
    with world.connect(DATABASE, "postgres", client_min_messages="warning") as admin, world.connect(DATABASE, DBOWNER) as attacker:
        attempts.listen(admin, DBOWNER)
        admin.execute("CREATE EXTENSION vector")
        admin.execute("CREATE EXTENSION pg_speaker")
        rivals(attacker, DBOWNER)
        admin.execute("DROP EXTENSION pg_speaker")
        heard(attempts, DBOWNER, "the extension's script", admin, "CREATE EXTENSION pg_speaker")
        admin.execute("DROP EXTENSION pg_speaker")
        # Trusted: whoever runs it, the script is a superuser's.
        heard(attempts, DBOWNER, "the extension's script, by its owner", attempts.listen(attacker, DBOWNER), "CREATE EXTENSION pg_speaker")
        made = rivals(attacker, DBOWNER) + attacker.execute(
            "SELECT count(*) FROM pg_proc WHERE proowner = %s::regrole", [role(DBOWNER)]).fetchone()[0]
        attempts.check("rivals of the extension's functions", None if made > 200 else f"only {made}")
        attempts.loots.clear()
        with undone(admin):
            admin.execute("SELECT public.format('a'::text, 'b'::text)")
        attempts.check("a rival is heard", None if attempts.loots else "it is not")
        admin.execute(f"CREATE SCHEMA speaker AUTHORIZATION {role('owner')}")
        with world.connect(DATABASE, "owner", client_min_messages="warning") as owner:
            attempts.listen(owner, DBOWNER)
            heard(attempts, DBOWNER, "making a store", owner, "SELECT public.create_speaker_store('speaker'::name)")
            owner.execute(f"SELECT speaker.grant_access('{role('writer')}')")
            heard(attempts, DBOWNER, "an upgrade", owner, "SELECT public.upgrade_speaker_store('speaker'::name)")
            every = functions(owner)
        heard(attempts, DBOWNER, "a superuser's upgrade", admin, "SELECT public.upgrade_speaker_store('speaker'::name)")
        target = world.fill(DATABASE, "writer", MARK)
        for who in ("writer", "owner", "postgres"):
            with world.connect(DATABASE, who) as connection:
                attempts.listen(connection, DBOWNER)
                for each in every:
                    begin = "" if each.kind == "p" else "BEGIN; "
                    heard(attempts, DBOWNER, f"{each.signature} of {who}", connection, begin + call(each, target))
                    connection.execute("ROLLBACK")
                for name, statement in statements(target).items():
                    heard(attempts, DBOWNER, f"{name} of {who}", connection, f"BEGIN; {statement}")
                    connection.execute("ROLLBACK")


def before_the_store(attempts, world):
    """A schema, or what is in it, that was there before the store."""
    database = world.make_database("attack_squatted")
    with world.connect(database, "postgres", client_min_messages="warning") as admin, world.connect(database, "squatter") as squatter:
        admin.execute("CREATE EXTENSION pg_speaker CASCADE")
        admin.execute(f"GRANT CREATE ON DATABASE {database} TO {role('squatter')}")
        trap = f"LANGUAGE plpgsql AS $$BEGIN {loot('squatter')} RETURN NULL; END$$"
        for name, makes in {
            "an empty schema": [], "an open schema": ["GRANT CREATE ON SCHEMA {} TO PUBLIC"],
            "a table": ["CREATE TABLE {}.migrations (number int, name text, library_version text)"],
            "a view": ["CREATE VIEW {}.segment_sources AS SELECT 1"],
            "a function": ["CREATE FUNCTION {}.raise_error(text, text, text) RETURNS text " + trap],
            "a type": ["CREATE TYPE {}.outcome AS (segment_id bigint)"],
            "a domain": ["CREATE DOMAIN {}.text AS text"],
            "a sequence": ["CREATE SEQUENCE {}.recordings_id_seq"],
            "an operator": ["CREATE FUNCTION {0}.f(text, text) RETURNS boolean " + trap,
                            "CREATE OPERATOR {0}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = {0}.f)"],
        }.items():
            for place, of_whom in (("mine", "squatter"), ("lent", "postgres")):
                if of_whom == "postgres":
                    admin.execute(f"CREATE SCHEMA {place}; GRANT ALL ON SCHEMA {place} TO {role('squatter')}")
                else:
                    squatter.execute(f"CREATE SCHEMA {place}")
                for statement in makes:
                    make(squatter, statement.format(place))
                made = make(admin, f"SELECT create_speaker_store('{place}')")
                attempts.count(ESCALATION, "squatter", f"{name} in a schema of {of_whom}", "a store was made over it" if made else None)
                admin.execute(f"DROP SCHEMA {place} CASCADE")
        # A function with the name of one of the extension's does not become one.
        admin.execute("DROP EXTENSION pg_speaker")
        admin.execute(f"GRANT CREATE ON SCHEMA public TO {role('squatter')}")
        for statement in ("CREATE FUNCTION public.speaker_raise(text, text, text) RETURNS text " + trap,
                          "CREATE FUNCTION public.speaker_default_model() RETURNS text " + trap,
                          "CREATE TYPE public.vector AS (x int)", "CREATE TYPE public.hdbscan_answer AS (x int)"):
            if make(squatter, statement):
                owner = "SELECT count(*) FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid " \
                        f"WHERE d.deptype = 'e' AND p.proowner = '{role('squatter')}'::regrole"
                make(admin, "CREATE EXTENSION pg_speaker")
                adopted = admin.execute(owner).fetchone()[0]
                attempts.count(ESCALATION, "squatter", statement[:50], f"the extension has {adopted} of its functions" if adopted else None)
                admin.execute("DROP EXTENSION IF EXISTS pg_speaker")
                squatter.execute(f"DROP OWNED BY {role('squatter')}")
                admin.execute(f"GRANT CREATE ON SCHEMA public TO {role('squatter')}")


def against_the_superuser(attempts, world):
    """The owner of a store, and a superuser who upgrades it: what the owner has put there has the owner's rights."""
    database = "attack_owner"
    trap = f"LANGUAGE plpgsql AS $$BEGIN {loot('owner')} RETURN NEW; END$$"
    hostile = {
        "a trigger": ["CREATE FUNCTION speaker.hostile() RETURNS trigger " + trap,
                      "CREATE TRIGGER hostile BEFORE INSERT OR UPDATE OR DELETE ON speaker.migrations FOR EACH ROW EXECUTE FUNCTION speaker.hostile()"],
        "a deferred trigger": ["CREATE FUNCTION speaker.hostile() RETURNS trigger " + trap,
                               "CREATE CONSTRAINT TRIGGER hostile AFTER INSERT OR DELETE ON speaker.migrations DEFERRABLE INITIALLY DEFERRED "
                               "FOR EACH ROW EXECUTE FUNCTION speaker.hostile()"],
        "a default": ["CREATE FUNCTION speaker.hostile() RETURNS timestamptz " + trap.replace("NEW", "now()"),
                      "ALTER TABLE speaker.migrations ALTER applied_at SET DEFAULT speaker.hostile()"],
        "a check": ["CREATE FUNCTION speaker.hostile() RETURNS boolean " + trap.replace("NEW", "true"),
                    "ALTER TABLE speaker.migrations ADD CHECK (speaker.hostile())"],
        "a rule": ["CREATE FUNCTION speaker.hostile() RETURNS text " + trap.replace("NEW", "'x'"),
                   "CREATE RULE hostile AS ON INSERT TO speaker.migrations DO ALSO SELECT speaker.hostile()"],
        "a policy": ["CREATE FUNCTION speaker.hostile() RETURNS boolean " + trap.replace("NEW", "true"),
                     "ALTER TABLE speaker.migrations ENABLE ROW LEVEL SECURITY", "ALTER TABLE speaker.migrations FORCE ROW LEVEL SECURITY",
                     "CREATE POLICY hostile ON speaker.migrations USING (speaker.hostile())"],
        "a view": ["CREATE FUNCTION speaker.hostile() RETURNS boolean " + trap.replace("NEW", "true"),
                   "ALTER TABLE speaker.migrations RENAME TO kept",
                   "CREATE VIEW speaker.migrations AS SELECT * FROM speaker.kept WHERE speaker.hostile()"],
        "a function": ["CREATE OR REPLACE FUNCTION speaker.grant_access_again() RETURNS void " + trap.replace("RETURN NEW;", ""),
                       "CREATE OR REPLACE FUNCTION speaker.owners_functions() RETURNS text[] " + trap.replace("NEW", "NULL"),
                       "CREATE OR REPLACE FUNCTION speaker.my_collections() RETURNS text[] " + trap.replace("NEW", "NULL")],
        "an operator": ["CREATE FUNCTION speaker.hostile(text, text) RETURNS boolean " + trap.replace("NEW", "true"),
                        "CREATE OPERATOR speaker.= (LEFTARG = text, RIGHTARG = text, FUNCTION = speaker.hostile)"],
    }
    works = {"an upgrade": "upgrade_speaker_store()", "the first upgrade": "upgrade_speaker_store()",
             "a downgrade": "downgrade_speaker_store('speaker', 0)"}
    with world.connect(database, "postgres") as admin:
        attempts.listen(admin, "owner")
        for (name, statements), (when, work) in itertools.product(hostile.items(), works.items()):
            # With the owner's rights, in the superuser's transaction, which is undone.
            with undone(admin):
                if when == "the first upgrade":
                    admin.execute(f"DROP SCHEMA speaker CASCADE; CREATE SCHEMA speaker AUTHORIZATION {role('owner')}")
                    admin.execute(f"SET LOCAL ROLE {role('owner')}")
                    admin.execute(YOUNG)
                admin.execute(f"SET LOCAL ROLE {role('owner')}")
                admin.execute("; ".join(statements))
                admin.execute("RESET ROLE")
                heard(attempts, "owner", f"{name} in the way of {when}", admin, f"SELECT public.{work}; SET CONSTRAINTS ALL IMMEDIATE")


def install(attempts, world):
    beside_the_extension(attempts, world)
    before_the_store(attempts, world)
    against_the_superuser(attempts, world)
