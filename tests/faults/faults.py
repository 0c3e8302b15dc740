"""A backfill that is killed, and everything that is cancelled: faults.py SERVER_TOOL BIN FOLDER

Two sessions share a backfill in a server of its own while backends are killed with -9 and the server is stopped in
immediate mode, at random moments; some segments are poison. Then calls of every kind are cancelled at random moments.
SEED= repeats a run. Prints its figures last, and fails where one is missed.
"""

import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg

FIXTURES = Path(__file__).parents[2] / "fixtures"
RECORDINGS = 250  # of 24 segments
KILLS = 20
RESTARTS = 6
CANCELS = 120

# What goes wrong at a segment, other than its audio: the server dies, or PostgreSQL raises an error.
POISON = """
CREATE TABLE poison (segment_id bigint PRIMARY KEY, kind text);
CREATE FUNCTION poisoned() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    CASE (SELECT kind FROM poison WHERE segment_id = NEW.segment_id)
    WHEN 'crash' THEN
        EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
        PERFORM pg_sleep(10);
    WHEN 'error' THEN RAISE EXCEPTION 'something is wrong with this one';
    ELSE NULL;
    END CASE;
    RETURN NEW;
END
$$;
CREATE TRIGGER poisoned BEFORE INSERT ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION poisoned();
"""

# Every committed write of an embedding.
AUDIT = """
CREATE TABLE writes (segment_id bigint);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN INSERT INTO public.writes VALUES (NEW.segment_id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION audit();
"""


class Server:
    def __init__(self, tool, programs, folder):
        self.tool = [tool, programs, folder]
        self.pg_ctl = [f"{programs}/pg_ctl", "-D", f"{folder}/data"]
        self("start")
        self.conninfo = subprocess.check_output([*self.tool, "conninfo"], text=True).strip()

    def __call__(self, *command):
        subprocess.run([*self.tool, *command], check=True, stdout=subprocess.DEVNULL)

    def connect(self, database, **options):
        return psycopg.connect(f"{self.conninfo} dbname={database} connect_timeout=5", autocommit=True, **options)

    def patient(self, database):
        """A connection, as soon as there is one to be had."""
        while True:
            try:
                return self.connect(database)
            except psycopg.OperationalError:
                time.sleep(0.1)

    def postmaster(self):
        return int(Path(f"{self.tool[2]}/data/postmaster.pid").read_text().splitlines()[0])

    def stop(self):
        # A server that is asked to stop while it recovers may not: by then there is nothing left to save.
        os.kill(self.postmaster(), signal.SIGQUIT)

    def crash(self):
        """Stops in immediate mode, as a power cut would, and starts again."""
        os.kill(self.postmaster(), signal.SIGQUIT)
        while Path(f"{self.tool[2]}/data/postmaster.pid").exists():
            time.sleep(0.05)
        self("start")


def fill(server, database):
    """The same recordings and segments in every database. Returns the ids of what no session can embed."""
    server("createdb", database)
    with server.connect(database) as owner:
        owner.execute("CREATE EXTENSION pg_speaker CASCADE")
        owner.execute(f"ALTER DATABASE {database} SET speaker.retry_delay = 1")
        owner.execute(f"ALTER DATABASE {database} SET speaker.max_attempts = 3")
        audio, segments = (FIXTURES / "meeting.flac").read_bytes(), (FIXTURES / "meeting.pyannote.json").read_text()
        for number in range(RECORDINGS):
            owner.execute("SELECT ingest_recording(%s, %s, %s, embed => false)", [f"r{number}", audio, segments])
        bad = audio[:9000] + bytes(len(audio) - 9000)
        for number in range(2):
            owner.execute("INSERT INTO speaker.recordings (external_id, audio) VALUES (%s, %s)", [f"bad{number}", bad])
            owner.execute("SELECT add_run(%s, '[{\"start\": 20, \"end\": 24}]')", [f"bad{number}"])
        owner.execute("SELECT add_run('r0', '[{\"start\": 4.1, \"end\": 4.3}]')")
        return ids(owner, "SELECT id FROM speaker.segments WHERE run_id > %s", [RECORDINGS])


def ids(connection, query, parameters=None):
    return {row[0] for row in connection.execute(query, parameters)}


def backfill(server, database, finished):
    """A session that goes on with the backfill until it is done, whatever happens to it."""
    while not finished.is_set():
        try:
            with server.connect(database) as session:
                while not finished.is_set():
                    session.execute("CALL backfill_embeddings(batch_size => 20)")
                    finished.wait(0.2)
        except psycopg.Error:
            finished.wait(0.1)


def open_jobs(connection):
    return connection.execute(
        """SELECT count(*) FROM speaker.segments AS s LEFT JOIN speaker.embedding_jobs AS j ON j.segment_id = s.id
           WHERE j.status IS NULL OR j.status IN ('pending', 'running', 'fail')"""
    ).fetchone()[0]


def run(server, database, disturb):
    """Two sessions and whatever disturbs them, until nothing is left to do. Returns how long that took."""
    started = time.monotonic()
    finished = threading.Event()
    sessions = [threading.Thread(target=backfill, args=(server, database, finished)) for _ in range(2)]
    for session in sessions:
        session.start()
    try:
        disturb(database)
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            with server.patient(database) as watcher:
                try:
                    if not open_jobs(watcher):
                        return time.monotonic() - started
                except psycopg.OperationalError:
                    pass
            time.sleep(0.5)
        raise AssertionError("after ten minutes the work is not done")
    finally:
        finished.set()
        for session in sessions:
            session.join()


def disturber(server, chance, undisturbed_s, counts):
    def disturb(database):
        # The restarts are spread over the kills, and all of them over half of the time that the work takes.
        faults = ["kill"] * KILLS + ["restart"] * RESTARTS
        chance.shuffle(faults)
        for fault in faults:
            time.sleep(chance.uniform(0, undisturbed_s / len(faults)))
            if fault == "restart":
                server.crash()
                counts["restarts"] += 1
                continue
            while True:
                try:
                    with server.patient(database) as watcher:
                        working = ids(
                            watcher,
                            """SELECT pid FROM pg_stat_activity
                               WHERE datname = current_database() AND state = 'active' AND query LIKE 'CALL %'""",
                        )
                        left = open_jobs(watcher)
                except psycopg.OperationalError:
                    continue
                if working:
                    break
                time.sleep(0.05)
            assert left, "the work was done before the last kill"
            os.kill(chance.choice(sorted(working)), signal.SIGKILL)
            counts["kills"] += 1

    return disturb


def survive(server, chance):
    rejected = fill(server, "undisturbed")
    undisturbed_s = run(server, "undisturbed", lambda _: None)
    assert fill(server, "disturbed") == rejected
    with server.connect("disturbed") as owner:
        innocent = sorted(ids(owner, "SELECT id FROM speaker.segments") - rejected)
        chosen = chance.sample(innocent, 5)
        owner.execute(POISON + AUDIT)
        for segment, kind in zip(chosen, ["crash", "crash", "error", "error", "error"]):
            owner.execute("INSERT INTO poison VALUES (%s, %s)", [segment, kind])
    counts = {"kills": 0, "restarts": 0}
    run(server, "disturbed", disturber(server, chance, undisturbed_s, counts))

    poison = set(chosen) | rejected
    with server.connect("disturbed") as owner, server.connect("undisturbed") as reference:
        good = ids(owner, "SELECT id FROM speaker.segments") - poison
        query = "SELECT segment_id, embedding::float4[] FROM speaker.embeddings WHERE segment_id = ANY (%s)"
        vectors, expected = (dict(c.execute(query, [sorted(good)]).fetchall()) for c in (owner, reference))
        dead = ids(owner, "SELECT segment_id FROM speaker.embedding_jobs WHERE status = 'dead'")
        assert dead >= set(chosen), f"poison that is not dead: {set(chosen) - dead}"
        assert owner.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
        return {
            **counts,
            "items": len(good | poison),
            "poison": len(poison),
            "lost": len(good - vectors.keys()),
            "duplicated": len(ids(owner, "SELECT segment_id FROM writes GROUP BY 1 HAVING count(*) > 1")),
            "stuck": open_jobs(owner),
            "innocent_dead": len(dead - poison),
            "vectors_max_diff": max(
                abs(a - b) for segment in good & vectors.keys() for a, b in zip(vectors[segment], expected[segment])
            ),
        }


def cancelled(session, pid, killer, how, statement):
    """Milliseconds from the cancel to the session's answer, or None where it was done before."""
    delay, kind = how
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
    except (psycopg.errors.QueryCanceled, psycopg.errors.AdminShutdown, psycopg.OperationalError):
        answered = time.monotonic()
    thread.join()
    if answered is None:
        return None
    return (answered - state["at"]) * 1000


def cancel(server, chance):
    """Cancels, terminations and timeouts in each kind of work."""
    with server.connect("undisturbed") as owner:
        owner.execute("CREATE TABLE long (name text, audio bytea)")
        owner.execute("ALTER TABLE long ALTER audio SET STORAGE EXTERNAL")
        audio = (FIXTURES / "meeting.flac").read_bytes()
        clip = owner.execute("SELECT audio_clip(%s, 0, NULL)", [audio]).fetchone()[0]
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
    work = {
        "decode": "SELECT audio_clip(audio, 1340, 1341) FROM long, generate_series(1, 20) WHERE name = 'slow'",
        "one long segment": "SELECT extract_speaker_embedding(audio) FROM long WHERE name = 'plain'",
        "many segments": """SELECT count(*) FROM long, extract_speaker_embeddings(audio,
            ARRAY(SELECT n::float8 FROM generate_series(0, 890, 2) AS n),
            ARRAY(SELECT n + 3::float8 FROM generate_series(0, 890, 2) AS n)) WHERE name = 'plain'""",
        "clustering": "SELECT count(*) FROM points, hdbscan(all_of_them)",
        "clustering, two threads": "SET speaker.cluster_threads = 2; SELECT count(*) FROM points, hdbscan(all_of_them)",
        "backfill": "CALL backfill_embeddings(batch_size => 20)",
    }
    times = {name: [] for name in work}
    attempts = 0
    with server.connect("undisturbed") as killer:
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
                took = cancelled(session, session.info.backend_pid, killer, (chance.uniform(0.01, 1.0), kind), work[name])
            if took is not None:
                times[name].append(took)
        for name, row in times.items():
            print(f"  {name:24} {len(row):3} cancels, median {sorted(row)[len(row) // 2]:4.0f} ms, worst {max(row):4.0f} ms")
        # statement_timeout is the same interrupt, raised by a timer.
        with server.connect("undisturbed") as session:
            session.execute("SET statement_timeout = '200ms'")
            started = time.monotonic()
            try:
                session.execute(work["one long segment"])
                raise AssertionError("statement_timeout did not end the call")
            except psycopg.errors.QueryCanceled:
                timeout = (time.monotonic() - started) * 1000 - 200
        # Nothing is left half done: the rest goes through.
        killer.execute("ALTER DATABASE undisturbed SET speaker.retry_delay = 0")
        with server.connect("undisturbed") as session:
            for _ in range(3):
                session.execute("CALL backfill_embeddings()")
            assert open_jobs(session) == 0
            missing = session.execute(
                """SELECT count(*) FROM speaker.embedding_jobs AS j LEFT JOIN speaker.embeddings AS e USING (segment_id)
                   WHERE (j.status = 'success') <> (e.segment_id IS NOT NULL)"""
            ).fetchone()[0]
    every = sorted(took for row in times.values() for took in row)
    return {
        "cancels": len(every),
        "cancel_p50_ms": round(every[len(every) // 2]),
        "cancel_p99_ms": round(every[math.ceil(len(every) * 0.99) - 1]),
        "cancel_max_ms": round(every[-1]),
        "timeout_late_ms": round(timeout),
        "half_done": missing,
    }


def main():
    server = Server(*sys.argv[1:])
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"seed {seed}")
    try:
        figures = survive(server, random.Random(seed))
        print(figures, flush=True)
        figures |= cancel(server, random.Random(seed))
    finally:
        server.stop()
    for name, value in figures.items():
        print(f"{name}={value}")
    missed = [
        name
        for name, missed in {
            "kills": figures["kills"] < KILLS,
            "restarts": figures["restarts"] < 5,
            "items": figures["items"] < 2000,
            "lost": figures["lost"],
            "duplicated": figures["duplicated"],
            "stuck": figures["stuck"],
            "innocent_dead": figures["innocent_dead"],
            "vectors_max_diff": figures["vectors_max_diff"],
            "cancels": figures["cancels"] < 100,
            "cancel_p99_ms": figures["cancel_p99_ms"] > 250,
            "half_done": figures["half_done"],
        }.items()
        if missed
    ]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
