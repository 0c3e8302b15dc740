"""Everything at once: stress.py CONNINFO MINUTES

Sessions call every public function that writes, and change and delete rows themselves, in two stores of one database, one of a
superuser's making and one of a plain role's: in read committed, repeatable read, serializable, and the three mixed. Some are cancelled,
some make transactions of several calls. After each quarter, what was committed must be there, and what is derived right. SEED= draws
the same calls again; when they meet is chance. Prints its figures last, and fails where one is missed.
"""

import os
import random
import sys
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from storm import ISOLATIONS, Storm
from truth import drift, lost, settle

FIXTURES = Path(__file__).parents[2] / "fixtures"
DATABASE, OWNER, WRITER = "stress", "stress_owner", "stress_writer"
SCHEMAS = ["speaker", "theirs"]
SESSIONS = 16
ZERO = ["deadlocks_single_call", "unexpected_errors", "lost", "drift", "stuck"]
PHASES = [[isolation] for isolation in ISOLATIONS] + [ISOLATIONS]


def main(conninfo, minutes):
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"seed {seed}", flush=True)
    with psycopg.connect(make_conninfo(conninfo, dbname="postgres"), autocommit=True) as admin:
        make_database(admin, DATABASE)
        figures = stress(make_conninfo(conninfo, dbname=DATABASE), minutes * 60, SESSIONS, seed)
        drop_database(admin, DATABASE)
    for name, figure in figures.items():
        print(f"{name}={figure}")
    missed = [name for name in ZERO if figures[name]]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


def make_database(admin, name):
    drop_database(admin, name)
    for role in (OWNER, WRITER):
        admin.execute(f"CREATE ROLE {role} LOGIN")
    admin.execute(f"CREATE DATABASE {name}")
    admin.execute(f"GRANT CREATE ON DATABASE {name} TO {OWNER}")
    # A deadlock is looked for soon, and so found more often.
    admin.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '50ms'")
    admin.execute(f"ALTER DATABASE {name} SET speaker.retry_delay = 0")


def drop_database(admin, name):
    admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    for role in (OWNER, WRITER):
        admin.execute(f"DROP ROLE IF EXISTS {role}")


def make_stores(conninfo):
    """The stores, and short clips to put in."""
    with psycopg.connect(conninfo, autocommit=True, options="-c client_min_messages=warning") as admin:
        admin.execute("CREATE EXTENSION pg_speaker CASCADE")
        admin.execute("SELECT create_speaker_store(%s)", SCHEMAS[:1])
        admin.execute(f"SELECT {SCHEMAS[0]}.grant_access(%s)", [WRITER])
        clips = [
            admin.execute("SELECT audio_clip(%s, %s, %s)", [path.read_bytes(), start, start + 4.0]).fetchone()[0]
            for path in sorted((FIXTURES / "enrol").glob("*.flac"))
            for start in (0.0, 2.0)
        ]
    with psycopg.connect(conninfo, user=OWNER, autocommit=True) as owner:
        owner.execute("SELECT create_speaker_store(%s)", SCHEMAS[1:])
        owner.execute(f"SELECT {SCHEMAS[1]}.grant_access(%s)", [WRITER])
    return clips


def stress(conninfo, seconds, sessions, seed, say=print):
    """The figures of a storm in this database."""
    clips = make_stores(conninfo)
    storm = Storm(make_conninfo(conninfo, user=WRITER), conninfo, SCHEMAS, clips, seed, say)
    wrong = dict.fromkeys(["lost", "drift", "stuck"], 0)
    with psycopg.connect(conninfo, autocommit=True) as admin:
        for isolations in PHASES:
            storm.rage(sessions, seconds / len(PHASES), isolations)
            for notes in storm.stores:
                wrong["stuck"] += settle(admin, notes.schema)
                wrong["drift"] += drift(admin, notes.schema, say)
                wrong["lost"] += lost(admin, notes, say)
            say(f"{', '.join(isolations)}: {dict(storm.counts)} {wrong}", flush=True)
        [[deadlocks]] = admin.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    counts = storm.counts
    # Those that a function of the store caught and hid.
    hidden = deadlocks - counts["deadlocks_single_call"] - counts["deadlocks_transactions"]
    return {
        "sessions": sessions,
        "calls": counts["calls"],
        "cancelled": counts["cancelled"],
        "refused": counts["refused"],
        "serialization_failures": counts["serialization_failures"],
        "deadlocks_transactions": counts["deadlocks_transactions"],
        "deadlocks_single_call": counts["deadlocks_single_call"] + max(hidden, 0),
        "unexpected_errors": counts["unexpected_errors"],
        "lost": wrong["lost"],
        "drift": wrong["drift"],
        "stuck": wrong["stuck"] + counts["silent"],
    }


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
