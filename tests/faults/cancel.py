"""How soon a cancel, a termination or a timeout is answered, in each kind of work, and that nothing is left half done."""

import math
import threading
import time

import psycopg

from server import AUDIO, value
from work import left

CANCELS = 120

WORK = {
    "decode": "SELECT audio_clip(audio, 1340, 1341) FROM long, generate_series(1, 20) WHERE name = 'slow'",
    "one long segment": "SELECT extract_speaker_embedding(audio) FROM long WHERE name = 'plain'",
    "many segments": """SELECT count(*) FROM long, extract_speaker_embeddings(audio,
        ARRAY(SELECT n::float8 FROM generate_series(0, 890, 2) AS n),
        ARRAY(SELECT n + 3::float8 FROM generate_series(0, 890, 2) AS n)) WHERE name = 'plain'""",
    "clustering": "SELECT count(*) FROM points, hdbscan(all_of_them)",
    "clustering, two threads": "SET speaker.cluster_threads = 2; SELECT count(*) FROM points, hdbscan(all_of_them)",
    "backfill": "CALL backfill_embeddings(batch_size => 20)",
}


def make_work(owner):
    owner.execute("CREATE TABLE long (name text, audio bytea)")
    owner.execute("ALTER TABLE long ALTER audio SET STORAGE EXTERNAL")
    clip = value(owner, "SELECT audio_clip(%s, 0, NULL)", [AUDIO])
    # A quarter of an hour, at 16 kHz and, to be resampled, said to be at 11.
    whole = clip[44:] * 10
    head = bytearray(clip[:44])
    head[4:8], head[40:44] = (len(whole) + 36).to_bytes(4, "little"), len(whole).to_bytes(4, "little")
    owner.execute("INSERT INTO long VALUES ('plain', %s)", [bytes(head) + whole])
    head[24:28], head[28:32] = (11025).to_bytes(4, "little"), (22050).to_bytes(4, "little")
    owner.execute("INSERT INTO long VALUES ('slow', %s)", [bytes(head) + whole])
    owner.execute(
        """CREATE TABLE points AS SELECT array_agg(v) AS all_of_them FROM (
               SELECT (SELECT array_agg(random() - 0.5 + (i + n) * 0)::vector FROM generate_series(1, 256) AS i) AS v
               FROM generate_series(1, 12000) AS n) AS x"""
    )


def cancelled(session, killer, delay, kind, statement):
    """Milliseconds from the cancel to the session's answer, or None where it was done before."""
    pid = session.info.backend_pid
    state = {}

    def cancel():
        time.sleep(delay)
        state["at"] = time.monotonic()
        killer.execute(f"SELECT pg_{kind}_backend(%s)", [pid])

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        session.execute(statement)
        answered = None
    except (psycopg.errors.QueryCanceled, psycopg.errors.AdminShutdown):
        answered = time.monotonic()
    thread.join()
    return None if answered is None else (answered - state["at"]) * 1000


def cancels(server, killer, chance):
    """Times for each kind of work."""
    times = {name: [] for name in WORK}
    attempts = 0
    while sum(map(len, times.values())) < CANCELS or min(map(len, times.values())) < CANCELS // 8:
        attempts += 1
        assert attempts < CANCELS * 5, f"too few of the cancels came in time: {times}"
        name = min(times, key=lambda name: len(times[name]))
        kind = "terminate" if chance.random() < 0.2 else "cancel"
        if name == "backfill":
            killer.execute("SELECT retry_embeddings(); DELETE FROM speaker.embeddings WHERE segment_id < 400")
            killer.execute("DELETE FROM speaker.embedding_jobs WHERE segment_id < 400")
        with server.connect("undisturbed") as session:
            session.execute("SELECT extract_speaker_embedding(audio_clip(audio, 0, 4)) FROM long WHERE name = 'plain'")
            took = cancelled(session, killer, chance.uniform(0.01, 1.0), kind, WORK[name])
        if took is not None:
            times[name].append(took)
    for name, row in times.items():
        print(f"  {name:24} {len(row):3} cancels, median {sorted(row)[len(row) // 2]:4.0f} ms, worst {max(row):4.0f} ms")
    return sorted(took for row in times.values() for took in row)


def timeout_late(server):
    """statement_timeout is the same interrupt, raised by a timer. Milliseconds that it is late."""
    with server.connect("undisturbed") as session:
        session.execute("SET statement_timeout = '200ms'")
        started = time.monotonic()
        try:
            session.execute(WORK["one long segment"])
        except psycopg.errors.QueryCanceled:
            return (time.monotonic() - started) * 1000 - 200
    raise AssertionError("statement_timeout did not end the call")


def half_done(server):
    """The rest goes through. Jobs that say other than what is there."""
    with server.connect("undisturbed") as session:
        for _ in range(3):
            session.execute("CALL backfill_embeddings()")
        assert left(session) == 0
        return value(
            session,
            """SELECT count(*) FROM speaker.embedding_jobs AS j LEFT JOIN speaker.embeddings AS e USING (segment_id)
               WHERE (j.status = 'success') <> (e.segment_id IS NOT NULL)""",
        )


def cancel(server, chance):
    with server.connect("undisturbed") as killer:
        make_work(killer)
        every = cancels(server, killer, chance)
        late = timeout_late(server)
        killer.execute("ALTER DATABASE undisturbed SET speaker.retry_delay = 0")
    return {
        "cancels": len(every),
        "cancel_p50_ms": round(every[len(every) // 2]),
        "cancel_p99_ms": round(every[math.ceil(len(every) * 0.99) - 1]),
        "cancel_max_ms": round(every[-1]),
        "timeout_late_ms": round(late),
        "half_done": half_done(server),
    }
