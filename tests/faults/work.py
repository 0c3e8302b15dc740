"""Sessions that share the work of a store until it is done, whatever happens to them."""

import random
import threading
import time

import psycopg

from server import AUDIO, SEGMENTS, column, value

WORKER = "worker"  # The application_name of these sessions.
DEADLINE_S = 900


def backfill(session, _):
    session.execute("CALL backfill_embeddings(batch_size => 20)")


def embed_due(session, chance):
    session.execute("SELECT * FROM embed_due(%s)", [chance.randint(1, 10)])


def embed_run(session, chance):
    session.execute("SELECT * FROM embed_run(%s)", [chance.randint(1, value(session, "SELECT max(id) FROM runs"))])


def ingest(session, chance):
    """One of a few recordings, new or not: the same again is done already."""
    session.execute("SELECT * FROM ingest_recording(%s, %s, %s)", [f"new{chance.randrange(NEW)}", AUDIO, SEGMENTS])


NEW = 12
STEPS = [backfill, backfill, embed_due, embed_run, ingest]


def worker(server, database, step, chance, finished):
    session = None
    while not finished.is_set():
        try:
            if session is None or session.closed:
                session = server.connect(database, application_name=WORKER)
            # Some sessions have no time for it.
            session.execute("SELECT set_config('statement_timeout', %s, false)", [chance.choice(["0", "0", "0", "700"])])
            step(session, chance)
        except psycopg.Error:
            pass
        finished.wait(chance.uniform(0, 0.4))
    if session:
        session.close()


def left(connection):
    """How many segments are still to be embedded, of those that are there and of the recordings to come."""
    return value(
        connection,
        """SELECT count(*) FROM speaker.segments AS s LEFT JOIN speaker.embedding_jobs AS j ON j.segment_id = s.id
           WHERE j.status IS NULL OR j.status IN ('pending', 'running', 'fail')""",
    ) + NEW - value(connection, "SELECT count(*) FROM speaker.recordings WHERE starts_with(external_id, 'new')")


def share(server, database, chance, disturb):
    """All kinds of sessions and what disturbs them, until nothing is left to do. Returns how long that took."""
    started = time.monotonic()
    finished = threading.Event()
    sessions = [
        threading.Thread(target=worker, args=(server, database, step, random.Random(chance.random()), finished))
        for step in STEPS
    ]
    for session in sessions:
        session.start()
    try:
        disturb()
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                with server.patient(database) as watcher:
                    if not left(watcher):
                        return time.monotonic() - started
            except psycopg.OperationalError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"after {DEADLINE_S} seconds the work is not done")
    finally:
        finished.set()
        for session in sessions:
            session.join()


def at_work(connection):
    return sorted(column(
        connection,
        """SELECT pid FROM pg_stat_activity
           WHERE datname = current_database() AND state = 'active' AND application_name = %s""",
        [WORKER],
    ))
