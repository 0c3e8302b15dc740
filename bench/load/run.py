"""Many sessions at once: run.py BIN CONNINFO FIXTURES SECONDS.

50 connections label, take labels back, identify, search, import and ingest, each call a transaction. At the end the means
must be those that rebuild_speaker_centroids() makes.
"""

import base64
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import report  # noqa: E402

DATABASE = "pg_speaker_bench_load"
CONNECTIONS = 50
# Calls of each kind in a hundred.
WEIGHTS = {"label": 40, "unlabel": 10, "identify": 15, "search": 20, "import": 13, "ingest": 2}
WRONG = """
CREATE TEMP TABLE kept AS SELECT speaker_id, model_id, n, mean FROM speaker.speaker_centroids;
SELECT speaker.rebuild_speaker_centroids();
SELECT count(*) FILTER (WHERE k.n IS DISTINCT FROM c.n OR (k.mean <-> c.mean) > 1e-6) || '|' || coalesce(max(k.mean <-> c.mean), 0)
FROM kept AS k FULL JOIN speaker.speaker_centroids AS c USING (speaker_id, model_id)
"""


def main():
    binaries, conninfo, fixtures, seconds = sys.argv[1:]
    load = Load(Path(binaries), conninfo)
    load.psql("postgres", "-c", f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", "-c", f"CREATE DATABASE {DATABASE}")
    try:
        audio = base64.b64encode((Path(fixtures) / "enrol/awb.flac").read_bytes()).decode()
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            # Too long for an argument of the program.
            script.write(f"\\set audio '{audio}'\n\\ir {HERE / 'setup.sql'}\n")
            script.flush()
            load.psql(DATABASE, "-f", script.name)
        with tempfile.TemporaryDirectory() as folder:
            operations, errors = load.run(folder, seconds)
        deadlocks = load.psql(DATABASE, "-c", "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        version = load.psql(DATABASE, "-c", "SHOW server_version")
        wrong, drift = load.psql(DATABASE, "-c", WRONG).splitlines()[-1].split("|")
    finally:
        load.psql("postgres", "-c", f"DROP DATABASE {DATABASE} WITH (FORCE)")

    quantiles = {name: statistics.quantiles(times, n=100) for name, times in operations.items()}
    rows = [[name, len(times), *(f"{quantiles[name][percent - 1] / 1000:.1f} ms" for percent in (50, 90, 99))]
            for name, times in operations.items()]
    figures = {f"{name}_p{percent}_ms": round(cuts[percent - 1] / 1000, 1)
               for name, cuts in quantiles.items() for percent in (50, 99)}
    figures |= {
        "seconds": int(seconds),
        "connections": CONNECTIONS,
        "ops": sum(map(len, operations.values())),
        "errors": errors,
        "max_drift": f"{float(drift):.2e}",
        "lost_updates": int(wrong),
        "deadlocks_single_call": int(deadlocks),
    }
    report.publish("load", {**report.machine(), "PostgreSQL": version}, report.table(["call", "times", "p50", "p90", "p99"], rows),
                   figures, {"weights": WEIGHTS})


class Load:
    def __init__(self, binaries, conninfo):
        self.binaries = binaries
        facts = dict(pair.split("=", 1) for pair in conninfo.split())
        self.env = {**os.environ, "PGHOST": facts["host"], "PGUSER": facts["user"]}

    def psql(self, database, *arguments):
        command = [self.binaries / "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-d", database, *arguments]
        return subprocess.run(command, env=self.env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def run(self, folder, seconds):
        """The times (in microseconds) of each kind of call, and how many calls failed."""
        scripts = [argument for name, weight in WEIGHTS.items() for argument in ("-f", f"{HERE / name}.sql@{weight}")]
        done = subprocess.run(
            [self.binaries / "pgbench", "-n", "-c", str(CONNECTIONS), "-j", "2", "-T", seconds, "-l", "--log-prefix", f"{folder}/log",
             "--random-seed=1", *scripts, DATABASE],
            env=self.env, capture_output=True, text=True)
        print(done.stderr, file=sys.stderr)
        # A client whose call fails for another reason than a deadlock stops: it is one error, and too few operations.
        errors = len(re.findall(r"client \d+ aborted", done.stderr))
        failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
        errors += int(failed[1]) if failed else 0
        if done.returncode and not errors:
            raise SystemExit(done.stderr)
        operations = {name: [] for name in WEIGHTS}
        names = list(WEIGHTS)
        for log in Path(folder).glob("log*"):
            for line in log.read_text().splitlines():
                _, _, microseconds, script, *_ = line.split()
                if microseconds.isdigit():
                    operations[names[int(script)]].append(int(microseconds))
        return operations, errors


if __name__ == "__main__":
    main()
