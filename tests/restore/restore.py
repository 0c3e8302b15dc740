"""Every way of dump, restore, upgrade and replication: restore.py SERVER_TOOL BIN16 BIN18 FOLDER

Two databases, with stores of an ordinary role and with a store that a superuser made, go through each way. What comes out
is compared row by row, answer by answer and object by object, and then has to work on. Prints a row for each way, its
figures last, and fails where one is missed. The servers are in FOLDER, and gone afterwards.
"""

import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import psycopg

import standby
from compare import differences, lines_of, snapshot, works
from source import (
    ARCHIVE, FIXTURES, STORE, Database, Roles, add_indexes, audio, fill, furnish, make_stores, prepare, turns, value,
)

WAYS = 8
# Large objects are in no schema: without other tables, they alone.
OBJECTS_ONLY = ["--data-only", "--large-objects", "--exclude-table=*.*"]


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(str(part) for part in command)}:\n{done.stdout[-3000:]}")
    return done.stdout


class Server:
    def __init__(self, tool, programs, folder, options="", initdb=""):
        self.tool = [tool, programs, folder]
        self.programs, self.folder = Path(programs), Path(folder)
        self.env = os.environ | {"SERVER_OPTIONS": options, "INITDB_OPTIONS": initdb}

    def __call__(self, *command):
        done = subprocess.run([*map(str, self.tool), *map(str, command)], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout[-3000:]}")

    @property
    def socket(self):
        return self.folder / "socket"

    @property
    def conninfo(self):
        return f"host={self.socket} user=postgres"

    def admin(self):
        return psycopg.connect(f"{self.conninfo} dbname=postgres", autocommit=True)

    def make(self, name, template="template0"):
        with self.admin() as admin:
            admin.execute("SET client_min_messages = warning")
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def drop(self, name):
        with self.admin() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def dump(self, source, *options, user=None):
        """A dump in a file or folder of its own."""
        path = self.folder / f"dump_{source.name}"
        remove(path)
        run(self.programs / "pg_dump", *options, "--file", path, "--dbname", source.of(user) if user else source.as_admin)
        return path

    def psql(self, target, path, user=None):
        run(self.programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", target.of(user) if user else target.as_admin, "-f", path)

    def restore(self, target, path, *options, user=None):
        run(self.programs / "pg_restore", "--exit-on-error", *options, "-d", target.of(user) if user else target.as_admin, path)


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# Dumps ------------------------------------------------------------------------------------------------------------------------
#
# Each of these makes `target`, an empty database, the same as `source`.


def plain(server, source, target):
    server.psql(target, server.dump(source))


def inserts(server, source, target):
    server.psql(target, server.dump(source, "--column-inserts", "--rows-per-insert=100"))


def custom(server, source, target):
    server.restore(target, server.dump(source, "-Fc"))


def custom_parallel(server, source, target):
    server.restore(target, server.dump(source, "-Fc"), "-j4")


def folder_parallel(server, source, target):
    server.restore(target, server.dump(source, "-Fd", "-j4"), "-j4")


def sections(server, source, target):
    path = server.dump(source, "-Fc")
    for section in ("pre-data", "data", "post-data"):
        server.restore(target, path, f"--section={section}")


def schemas(server, source, target):
    """Into a database that has the extensions; large objects are in no schema."""
    prepare(target)
    server.psql(target, server.dump(source, "-n", STORE, "-n", "mine", "--large-objects"))
    server.psql(target, server.dump(source, "-n", ARCHIVE))


def schemas_by_owner(server, source, target):
    """Dumped and restored by a role that owns nothing but the stores. Other roles' large objects are the superuser's."""
    prepare(target)
    owner = source.roles.owner
    for names in ([STORE, "mine"], [ARCHIVE]):
        path = server.dump(source, "-Fc", *(f"--schema={name}" for name in names), user=owner)
        server.restore(target, path, "-j4", user=owner)
    server.psql(target, server.dump(source, *OBJECTS_ONLY))


def empty_stores(target):
    prepare(target)
    make_stores(target)
    furnish(target)


def data_by_owner(server, source, target):
    """Data alone, into new stores, by whoever owns them."""
    empty_stores(target)
    owner = None if source.by_superuser else source.roles.owner
    with target.owner() as connection:
        connection.execute(f"SELECT {STORE}.begin_restore(), {ARCHIVE}.begin_restore()")
    path = server.dump(source, "-Fc", "--data-only", *(f"--schema={name}" for name in (STORE, ARCHIVE, "mine")), user=owner)
    server.restore(target, path, user=owner)
    with target.owner() as connection:
        wrong = connection.execute(f"SELECT {STORE}.end_restore(), {ARCHIVE}.end_restore()").fetchone()
        assert wrong == (0, 0), f"{wrong} rows of the ledgers were wrong"
        connection.execute("REFRESH MATERIALIZED VIEW mine.voices")
    add_indexes(target)
    server.psql(target, server.dump(source, *OBJECTS_ONLY))


# By end_restore(): the numbers of their rows are new.
COUNTED_ANEW = (f"{STORE}.tallies_id_seq", f"{ARCHIVE}.tallies_id_seq")


def data_by_superuser(server, source, target):
    """Data alone, without any trigger or foreign key meanwhile."""
    empty_stores(target)
    with target.admin() as admin:
        # What every store has from the start.
        for store in (STORE, ARCHIVE):
            admin.execute(f"DELETE FROM {store}.models; DELETE FROM {store}.migrations")
    options = ["--data-only", "--large-objects", *(f"--schema={name}" for name in (STORE, ARCHIVE, "mine"))]
    server.restore(target, server.dump(source, "-Fc", *options), "--data-only", "--disable-triggers")
    with target.owner() as connection:
        # pg_restore turns all triggers on that it turned off, and those that were off.
        connection.execute("ALTER TABLE speaker.recordings DISABLE TRIGGER my_disabled")
        connection.execute("ALTER TABLE speaker.runs ENABLE REPLICA TRIGGER my_replica")
        connection.execute("ALTER TABLE speaker.speakers ENABLE ALWAYS TRIGGER my_always")
        connection.execute("REFRESH MATERIALIZED VIEW mine.voices")
    add_indexes(target)


DUMPS = {
    "pg_dump | psql": plain,
    "pg_dump --column-inserts | psql": inserts,
    "pg_dump -Fc, pg_restore": custom,
    "pg_dump -Fc, pg_restore -j4": custom_parallel,
    "pg_dump -Fd -j4, pg_restore -j4": folder_parallel,
    "pg_restore --section, three times": sections,
    "pg_dump -n": schemas,
    "pg_dump -n, all by the owner": schemas_by_owner,
    "pg_dump -a, begin_restore()": data_by_owner,
    "pg_dump -a, --disable-triggers": data_by_superuser,
}

# In place ---------------------------------------------------------------------------------------------------------------------
#
# Each of these changes a copy, and answers the database as it is then and what to read in place of its new names.


def fails(connection, query, parameters=None):
    """The error of a statement, which has to be that a function or a relation is not there."""
    try:
        connection.execute(query, parameters)
    except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        return str(error)
    raise AssertionError(f"no error: {query}")


def nothing_works(target):
    """Whatever needs the extension says so, and nothing is half done."""
    with target.admin() as admin, target.app() as app:
        before = snapshot_of_rows(admin)
        for query in (
            "SELECT * FROM ingest_recording('between', NULL, '[]')",
            "SELECT k.* FROM embeddings AS e, speaker_knn(e.embedding) AS k WHERE e.model_id = 1",
            "SELECT label_segment(min(id), 'Nobody') FROM segments",
            "SELECT * FROM cluster_unlabeled()",
            "CALL backfill_embeddings()",
            "SELECT * FROM speaker_embeddings",
            "INSERT INTO recordings (external_id, audio) VALUES ('between', '\\x00')",
            "UPDATE segments SET speaker_id = NULL WHERE speaker_id IS NOT NULL",
            "DELETE FROM recordings WHERE external_id = 'meeting'",
        ):
            fails(app, query)
        assert snapshot_of_rows(admin) == before, "something was written without the extension"


def snapshot_of_rows(connection):
    return connection.execute(
        """SELECT (SELECT count(*) FROM speaker.recordings), (SELECT count(*) FROM speaker.segments WHERE speaker_id IS NOT NULL),
                  (SELECT count(*) FROM speaker.embeddings), (SELECT count(*) FROM speaker.assignments)"""
    ).fetchone()


def extension_again(target):
    with target.app() as before, target.admin() as admin:
        # A session that has used it all goes on with what comes.
        before.execute("SELECT count(*) FROM identify_speakers(1, assign => false)").fetchone()
        admin.execute("DROP EXTENSION pg_speaker")
        nothing_works(target)
        admin.execute("CREATE EXTENSION pg_speaker")
        before.execute("SELECT count(*) FROM identify_speakers(1, assign => false)").fetchone()
    return target, ()


def extension_elsewhere(target):
    with target.admin() as admin:
        admin.execute("DROP EXTENSION pg_speaker; CREATE SCHEMA toolbox; GRANT USAGE ON SCHEMA toolbox TO public")
        admin.execute("CREATE EXTENSION pg_speaker SCHEMA toolbox")
        nothing_works(target)
    with target.owner() as owner:
        owner.execute("SELECT toolbox.upgrade_speaker_store(), toolbox.upgrade_speaker_store('archive')")
    return target.like(extension="toolbox"), [(r"\btoolbox\b", "public")]


def store_renamed(target):
    with target.admin() as admin:
        # Grants on a database are not copied with it.
        admin.execute(f"GRANT CREATE ON DATABASE {target.name} TO {target.roles.owner}")
    with target.owner() as owner:
        owner.execute('ALTER SCHEMA speaker RENAME TO "Stimmen 2"')
    target = target.like(store='"Stimmen 2"')
    with target.app() as app:
        fails(app, "SELECT k.* FROM embeddings AS e, speaker_knn(e.embedding) AS k WHERE e.model_id = 1")
        fails(app, "SELECT label_segment(min(id), 'Nobody') FROM segments")
    with target.owner() as owner:
        owner.execute("SELECT upgrade_speaker_store('Stimmen 2')")
    return target, [('"Stimmen 2"', "speaker")]


IN_PLACE = {
    "CREATE DATABASE TEMPLATE": lambda target: (target, ()),
    "DROP, CREATE EXTENSION": extension_again,
    "CREATE EXTENSION elsewhere": extension_elsewhere,
    "ALTER SCHEMA RENAME": store_renamed,
}

# Between servers --------------------------------------------------------------------------------------------------------------


def wait(what, until, seconds=60):
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def work_meanwhile(database):
    """Changes of every kind while somebody follows."""
    with database.app() as app:
        app.execute("SELECT ingest_recording('live', %s, %s)", [audio("meeting"), turns("meeting", 4)])
        app.execute("SELECT label_segment(max(id), 'Live') FROM segments WHERE rejected IS NULL")
        app.execute("SELECT label_segment(max(id) - 1, 'Bob') FROM segments WHERE rejected IS NULL")
        app.execute("SELECT enroll_speaker('Live', %s)", [audio("enrol/rms")])
        app.execute("SELECT * FROM cluster_unlabeled(min_cluster_size => 2)")
        app.execute(
            """UPDATE segments SET end_time = end_time - 0.1 WHERE id = (
                   SELECT min(s.id) FROM segments AS s JOIN embeddings AS e ON e.segment_id = s.id
                   JOIN runs AS u ON u.id = s.run_id JOIN recordings AS r ON r.id = u.recording_id
                   WHERE r.external_id = 'interview')"""
        )
        app.execute("CALL backfill_embeddings(recording => 'live')")
        app.execute("SELECT merge_speakers('Faye', 'Bob')")
        app.execute("DELETE FROM speakers WHERE name = 'awb'")
        app.execute("DELETE FROM recordings WHERE external_id = 'taken'")
    with database.owner() as owner:
        # Memberships have no key of their own.
        owner.execute("DELETE FROM speaker.memberships WHERE member = 'pool'")
        owner.execute(f"UPDATE speaker.memberships SET collection = 'c' WHERE member = '{database.roles.tenant_b}'")
        owner.execute("TRUNCATE speaker.tallies; SELECT speaker.repair_store()")


# The next values of sequences are not replicated.
SEQUENCES = """SELECT format('SELECT setval(%%L, %%s)', format('%%I.%%I', schemaname, sequencename), last_value)
               FROM pg_sequences WHERE last_value IS NOT NULL AND schemaname = ANY (%(schemas)s)"""


def replicated(server, publisher, subscriber, target):
    """Logical replication of whole schemas into another server."""
    # Of the newer server's programs: the older ones refuse to restore into it.
    subscriber.psql(target, subscriber.dump(publisher, "--schema-only"))
    with publisher.admin() as pub, target.admin() as sub:
        pub.execute(f"CREATE PUBLICATION stores FOR TABLES IN SCHEMA {STORE}, {ARCHIVE}, mine")
        sub.execute(f"CREATE SUBSCRIPTION stores CONNECTION '{publisher.as_admin}' PUBLICATION stores")
        wait("the first copy", lambda: value(sub, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"))
        work_meanwhile(publisher)
        lsn = value(pub, "SELECT pg_current_wal_lsn()")
        wait("what was done meanwhile", lambda: value(
            pub, "SELECT bool_and(confirmed_flush_lsn >= %s) FROM pg_replication_slots WHERE slot_name = 'stores'", [lsn]))
        # The switch to the subscriber.
        sub.execute("DROP SUBSCRIPTION stores")
        pub.execute("DROP PUBLICATION stores")
        for (statement,) in pub.execute(SEQUENCES, {"schemas": [STORE, ARCHIVE]}).fetchall():
            sub.execute(statement)
    subscriber.psql(target, subscriber.dump(publisher, *OBJECTS_ONLY))
    with target.owner() as owner:
        owner.execute("REFRESH MATERIALIZED VIEW mine.voices")


# The test ---------------------------------------------------------------------------------------------------------------------


class Ways:
    def __init__(self):
        self.rows = []

    def __call__(self, name, variant, way):
        """One way: way() answers how much was compared, and what is wrong."""
        started = time.monotonic()
        try:
            compared, wrong = way()
        except Exception as error:
            compared, wrong = "", [f"{type(error).__name__}: {error}", *traceback.format_exc().splitlines()[-12:]]
        self.rows.append((name, variant, wrong))
        took = time.monotonic() - started
        print(f"{name:34} {variant:11} {compared:52} {'UNEQUAL' if wrong else 'equal':7} {took:5.1f} s", flush=True)
        for line in wrong[:40]:
            print(f"    {line}", flush=True)


def compare(target, expected, renamed=(), but=(), work=True):
    taken = snapshot(target, renamed)
    wrong = differences(taken, expected, but)
    if work:
        wrong += works(target)
    parts = {part: lines_of(contents) for part, contents in taken.items()}
    compared = ", ".join(f"{number} {part}" for part, number in parts.items() if part != "sequences")
    return f"{compared}{', works' if work else ''}", wrong


def dump_ways(ways, server, source, expected, variant):
    for name, way in DUMPS.items():
        if way is schemas_by_owner and source.by_superuser:
            continue

        def dumped():
            target = source.like(name=f"{source.name}_copy")
            server.make(target.name)
            way(server, source, target)
            answer = compare(target, expected, but=COUNTED_ANEW if way is data_by_owner else ())
            server.drop(target.name)
            return answer

        ways(name, variant, dumped)


def ways_in_place(ways, server, source, expected, variant):
    for name, way in IN_PLACE.items():

        def changed():
            target = source.like(name=f"{source.name}_copy")
            server.make(target.name, source.name)
            changed, renamed = way(target)
            # What fails has taken numbers from sequences.
            answer = compare(changed, expected, renamed, but=expected["sequences"])
            server.drop(target.name)
            return answer

        ways(name, variant, changed)


def standby_way(ways, server, folder, tool, sources):
    follower = Server(tool, server.programs, folder)
    follower("as-server", "pg_basebackup", "-h", server.socket, "-U", "postgres", "-D", follower.folder / "data", "-R", "-c", "fast")
    follower("start")
    try:
        for variant, (source, expected) in sources.items():

            def followed():
                with server.admin() as primary, follower.admin() as admin:
                    lsn = value(primary, "SELECT pg_current_wal_lsn()")
                    wait("the standby", lambda: value(admin, "SELECT pg_last_wal_replay_lsn() >= %s", [lsn]))
                target = source.like(server=follower.conninfo)
                sequences = expected["sequences"]
                # Of sequences the WAL is ahead, by up to 32 numbers.
                compared, wrong = compare(target, expected, but=sequences, work=False)
                raised, problems = standby.writes(target)
                return f"{compared}, {raised} writes", wrong + problems

            ways("physical standby", variant, followed)
    finally:
        follower("stop")


def between_servers(ways, server, newer, sources):
    """From 16 to 18: logical replication, then all of the server by pg_dumpall."""
    roles = newer.folder / "roles.sql"
    run(newer.programs / "pg_dumpall", "-d", server.conninfo, "--roles-only", "-f", roles)
    # The superuser is there.
    roles.write_text("\n".join(line for line in roles.read_text().splitlines() if not line.startswith("CREATE ROLE postgres")))
    run(newer.programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", f"{newer.conninfo} dbname=postgres", "-f", roles)
    for variant, (source, _) in sources.items():

        def followed():
            publisher = source.like(name=f"{source.name}_copy")
            server.make(publisher.name, source.name)
            newer.make(publisher.name)
            target = publisher.like(server=newer.conninfo)
            replicated(server, publisher, newer, target)
            with publisher.owner() as owner:
                owner.execute("REFRESH MATERIALIZED VIEW mine.voices")
            # The user's trigger that fires always is the user's.
            answer = compare(target, snapshot(publisher))
            server.drop(publisher.name)
            newer.drop(publisher.name)
            return answer

        ways("logical replication 16 to 18", variant, followed)


def whole_server(ways, server, newer, sources):
    everything = newer.folder / "everything.sql"
    run(newer.programs / "pg_dumpall", "-d", server.conninfo, "-f", everything, "--no-role-passwords")
    everything.write_text(everything.read_text(errors="surrogateescape").replace("CREATE ROLE postgres;\n", "", 1), errors="surrogateescape")
    run(newer.programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", f"{newer.conninfo} dbname=postgres", "-f", everything)
    for variant, (source, expected) in sources.items():
        ways("pg_dumpall 16 | psql 18", variant, lambda: compare(source.like(server=newer.conninfo), expected))


def upgraded(ways, server, newer, sources):
    # The new server has no data yet, and checksums as the old one has them: initdb of 18 has them by default.
    newer("start")
    newer("stop")
    server("stop")
    newer("as-server", "pg_upgrade", "-b", server.programs, "-B", newer.programs, "-d", server.folder / "data",
          "-D", newer.folder / "data", "-U", "postgres", "-s", newer.socket, "-j", "2", "--no-sync")
    newer("start")
    for variant, (source, expected) in sources.items():
        ways("pg_upgrade 16 to 18", variant, lambda: compare(source.like(server=newer.conninfo), expected))


def main():
    tool, old_programs, new_programs, folder = (Path(argument).absolute() for argument in sys.argv[1:])
    remove(folder)
    folder.mkdir(parents=True)
    file = folder / "interview.flac"
    shutil.copyfile(FIXTURES / "interview.flac", file)
    file.chmod(0o644)
    # Logical replication needs more in the WAL.
    server = Server(tool, old_programs, folder / "16", "-c wal_level=logical")
    restored = Server(tool, new_programs, folder / "18")
    upgrade = Server(tool, new_programs, folder / "18up", initdb="--no-data-checksums")
    roles = Roles.of("restore")
    ways = Ways()
    try:
        server("start")
        with server.admin() as admin:
            roles.make(admin)
        sources = {}
        for variant, by_superuser in (("a role's", False), ("superuser's", True)):
            source = Database(server.conninfo, "made_by_superuser" if by_superuser else "made_by_role", roles, by_superuser)
            server.make(source.name)
            fill(source, file)
            expected = snapshot(source)
            assert all(lines for name, lines in expected["rows"].items() if name.startswith(STORE)), "an empty table shows nothing"
            sources[variant] = source, expected
            print({name: len(lines) for name, lines in expected["rows"].items()}, flush=True)
            dump_ways(ways, server, source, expected, variant)
            ways_in_place(ways, server, source, expected, variant)
        standby_way(ways, server, folder / "16standby", tool, sources)
        restored("start")
        between_servers(ways, server, restored, sources)
        restored("stop")
        remove(restored.folder)
        restored("start")
        whole_server(ways, server, restored, sources)
        restored("stop")
        upgraded(ways, server, upgrade, sources)
    finally:
        for each in (server, restored, upgrade):
            if (each.folder / "data/postmaster.pid").exists():
                each("stop")
        remove(folder)
    figures = {"ways": len({name for name, _, _ in ways.rows}), "stores": len(ways.rows), "ways_unequal": sum(bool(wrong) for _, _, wrong in ways.rows)}
    for name, figure in figures.items():
        print(f"{name}={figure}")
    sys.exit(figures["ways"] < WAYS or figures["ways_unequal"] > 0)


if __name__ == "__main__":
    main()
