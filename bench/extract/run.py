#!/usr/bin/env python3
"""Extraction through SQL beside the reference implementation in Python and beside the model alone.

    run.py CONNINFO BARE_SESSION LIBRARY MODEL_DIR FOLDER

FOLDER has the speech, as FLAC files at any depth. Everybody has one thread and is warm, and the rounds take turns, so
that a ratio compares what ran within the same seconds. Times are medians; `_cpu` figures compare processor time, which
other work on the machine disturbs less.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import psycopg

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import database  # noqa: E402
import report  # noqa: E402
from report import say  # noqa: E402

ROUNDS = 5
CONNECTIONS = 9
DATABASE = "pg_speaker_bench_extract"
# Seconds of a backfill's segments, and how often all of them are there.
PIECE, COPIES = 3.0, 3
EACH = "SELECT count(extract_speaker_embedding(audio)) FROM utterances"
ALL = "CALL backfill_embeddings(collection => 'files')"


class Child:
    """A program that says "ready", then runs a round for each line it is sent."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=report.environment(1))
        self.ready = self.answer().split()[1:]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended")
        return line

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return tuple(map(float, self.answer().split()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Backend:
    """A session of the database, and the processor time of its server process."""

    def __init__(self, conninfo):
        self.connection = psycopg.connect(conninfo, autocommit=True)
        self.pid = self.connection.info.backend_pid

    def run(self, statement):
        """Time and processor time."""
        started, busy = time.perf_counter(), self.busy()
        self.connection.execute(statement)
        return time.perf_counter() - started, self.busy() - busy

    def busy(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def private_mb(self):
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1000

    def close(self):
        self.connection.close()


def main():
    server, bare, library, models, folder = sys.argv[1:]
    files = sorted(map(str, Path(folder).rglob("*.flac")))
    with database.temporary(server, DATABASE) as conninfo:
        fill(conninfo, files)
        results = {
            "setting": {"files": len(files), "rounds": ROUNDS},
            "throughput": throughput(conninfo, files, lambda order: Child(bare, library, models, order, *files)),
            "backfill": backfill(conninfo),
            "sessions": sessions(conninfo),
        }
    publish(results)


def fill(conninfo, files):
    with psycopg.connect(conninfo, autocommit=True) as connection:
        database.make_store(connection)
        connection.execute("CREATE TABLE public.utterances (n int PRIMARY KEY, audio bytea, length float8)")
        connection.execute("ALTER TABLE utterances ALTER audio SET STORAGE EXTERNAL")
        for n, file in enumerate(files):
            connection.execute("INSERT INTO utterances VALUES (%s, %s::bytea, (audio_info(%s::bytea)).duration_s)",
                               [n, data := Path(file).read_bytes(), data])
        # Each of them as a recording that is one segment.
        connection.execute(
            """SELECT count(*) FROM utterances, LATERAL ingest_recording(n::text, audio,
                   json_build_array(json_build_object('start', 0, 'end', length))::text,
                   collection => 'files', embed => false)""")
        for copy in range(COPIES):
            connection.execute(
                """SELECT count(*) FROM utterances, LATERAL (
                       SELECT json_agg(json_build_object('start', s, 'end', least(s + %(piece)s, length))) AS segments
                       FROM generate_series(0, (length - 1)::numeric, %(piece)s::numeric) AS s) AS pieces,
                   ingest_recording(format('%%s.%%s', %(copy)s, n), audio, segments::text,
                                    collection => 'pieces', embed => false)""",
                {"piece": PIECE, "copy": copy})
        connection.execute("VACUUM ANALYZE")


def throughput(conninfo, files, bare):
    """Rounds of everybody, in turn."""
    say("warming up")
    backend = Backend(conninfo)
    children = {
        "reference": Child(sys.executable, HERE / "reference.py", *files),
        "bare session, file by file": bare("each"),
        "bare session, all files": bare("together"),
    }
    runs = {name: child.round for name, child in children.items()}
    runs["SQL, file by file"] = lambda: backend.run(EACH)
    runs["SQL, all files"] = lambda: backfill_anew(backend)
    for run in runs.values():
        run()
    times = {name: [] for name in runs}
    for turn in range(ROUNDS):
        say(f"round {turn + 1} of {ROUNDS}")
        for name, run in runs.items():
            times[name].append(run())
    windows = {name: int(child.ready[0]) for name, child in children.items() if child.ready}
    for child in children.values():
        child.close()
    backend.close()
    assert len(set(windows.values())) == 1, windows
    return {"windows": windows.popitem()[1],
            "seconds": {name: [[round(value, 4) for value in pair] for pair in pairs] for name, pairs in times.items()},
            "load": os.getloadavg()[0]}


def forget(connection):
    """Every segment is due."""
    connection.execute("DELETE FROM speaker.embeddings")
    connection.execute("SELECT retry_embeddings()")
    connection.execute("VACUUM speaker.embeddings, speaker.embedding_jobs")


def backfill_anew(backend):
    forget(backend.connection)
    times = backend.run(ALL)
    failed, = backend.connection.execute(
        "SELECT count(*) FROM speaker.embedding_jobs WHERE collection = 'files' AND status <> 'success'").fetchone()
    assert failed == 0, failed
    return times


def backfill(conninfo):
    """The same due segments by one session and by two."""
    rounds = {1: [], 2: []}
    with psycopg.connect(conninfo, autocommit=True) as admin:
        for turn in range(ROUNDS + 1):
            say(f"backfill {turn} of {ROUNDS}" if turn else "backfill, warming up")
            for workers in rounds:
                forget(admin)
                run = backfill_once(conninfo, workers)
                segments, done = admin.execute(
                    """SELECT count(*), count(*) FILTER (WHERE status <> 'pending')
                       FROM speaker.embedding_jobs WHERE collection = 'pieces'""").fetchone()
                assert segments == done > 0, (segments, done)
                if turn:
                    rounds[workers].append(run)
    return {"segments": segments, "rounds": rounds, "load": os.getloadavg()[0]}


def backfill_once(conninfo, workers):
    """Time until the last is done, and the processor time of each."""
    backends = [Backend(conninfo) for _ in range(workers)]
    for backend in backends:
        backend.run("SELECT speaker.load_model('ge2e')")
    answers = [None] * workers

    def work(worker):
        answers[worker] = backends[worker].run("CALL backfill_embeddings(batch_size => 20, collection => 'pieces')")

    threads = [threading.Thread(target=work, args=[worker]) for worker in range(workers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    for backend in backends:
        backend.close()
    return {"seconds": round(seconds, 3), "cpu_seconds": [round(busy, 2) for _, busy in answers]}


def sessions(conninfo):
    """New sessions, all of them kept: the first call, the next one, and what each keeps for itself."""
    clip = "SELECT extract_speaker_embedding(audio, 0, 3) FROM utterances WHERE n = 0"
    say("sessions")
    opened = []
    found = {"cold_ms": [], "cold_cpu_ms": [], "warm_ms": [], "private_mb": [], "private_mb_before": []}
    for _ in range(CONNECTIONS):
        backend = Backend(conninfo)
        # The catalogues of a session that has run something.
        backend.run("SELECT count(*) FROM utterances")
        found["private_mb_before"].append(backend.private_mb())
        cold, cold_cpu = backend.run(clip)
        found["cold_ms"].append(1000 * cold)
        found["cold_cpu_ms"].append(1000 * cold_cpu)
        found["warm_ms"].append(1000 * statistics.median(backend.run(clip)[0] for _ in range(9)))
        backend.run(EACH)
        opened.append(backend)
    found["private_mb"] = [backend.private_mb() for backend in opened]
    for backend in opened:
        backend.close()
    return {name: [round(value, 2) for value in values] for name, values in found.items()}


def publish(results):
    seconds = results["throughput"]["seconds"]

    def ratio(over, under, column):
        """Median of the rounds' ratios: both ran in the same round."""
        return round(statistics.median(a[column] / b[column] for a, b in zip(seconds[over], seconds[under], strict=True)), 3)

    def gain(of):
        one, two = ([of(run) for run in results["backfill"]["rounds"][workers]] for workers in (1, 2))
        return round(statistics.median(one) / statistics.median(two), 2)

    def middle(name):
        return round(statistics.median(results["sessions"][name]), 1)

    figures = {
        "extract_vs_reference_file_by_file": ratio("reference", "SQL, file by file", 0),
        "extract_vs_reference_cpu": ratio("reference", "SQL, all files", 1),
        "overhead_over_onnx_file_by_file": ratio("SQL, file by file", "bare session, file by file", 0),
        "overhead_over_onnx_cpu": ratio("SQL, all files", "bare session, all files", 1),
        "backfill_2_workers_cpu": gain(lambda run: max(run["cpu_seconds"])),
        "cold_first_call_cpu_ms": middle("cold_cpu_ms"),
        "warm_call_ms": middle("warm_ms"),
        "private_mb_before": middle("private_mb_before"),
        "extract_vs_reference": ratio("reference", "SQL, all files", 0),
        "overhead_over_onnx": ratio("SQL, all files", "bare session, all files", 0),
        "backfill_2_workers": gain(lambda run: run["seconds"]),
        "cold_first_call_ms": middle("cold_ms"),
        "private_mb_per_backend": round(max(results["sessions"]["private_mb"]), 1),
    }
    machine = {**report.machine(), **{name: version(name) for name in ("resemblyzer", "torch", "librosa", "numpy")}}
    rows = [[name, *(f"{statistics.median(column):.2f} s" for column in zip(*pairs))] for name, pairs in seconds.items()]
    about = f"{results['setting']['files']} files, {results['throughput']['windows']} windows, medians of {ROUNDS} rounds."
    report.publish("extract", machine, f"{about}\n\n{report.table(['', 'time', 'processor time'], rows)}", figures, results)


if __name__ == "__main__":
    main()
