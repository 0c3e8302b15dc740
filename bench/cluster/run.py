#!/usr/bin/env python3
"""HDBSCAN here, in scikit-learn and in the crate hdbscan, on the same vectors and the same cores.

    run.py CLUSTER_FILE FOLDER [--limit SECONDS] [--again]

CLUSTER_FILE is speaker_core's example of that name, FOLDER takes vectors and answers. A peer's run that would take
longer than the limit (default 3600), or more memory than there is, is left out and said to be; what to expect is
reckoned from its last size, growing with the square. --again only writes the last results' report anew.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import data
import numpy
import scipy.optimize
import sklearn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import report  # noqa: E402

SIZES = [2_000, 10_000, 50_000, 100_000]
# Runs below this many seconds are repeated, and the best counts.
QUICK, ROUNDS = 60.0, 3
# name -> (arguments of peer.py or None, the largest size for which it is tried)
CONTESTANTS = {
    "pg_speaker": (None, 100_000),
    "scikit-learn brute": (["brute", "default"], 100_000),
    "scikit-learn brute, stable sort": (["brute", "stable"], 10_000),
    "scikit-learn kd_tree": (["kd_tree", "default"], 100_000),
    "scikit-learn kd_tree, stable sort": (["kd_tree", "stable"], 10_000),
    "scikit-learn ball_tree": (["ball_tree", "default"], 100_000),
    "crate hdbscan": (None, 10_000),
}
# What the labels are held against: see README.md.
REFERENCES = ["scikit-learn brute, stable sort", "scikit-learn kd_tree, stable sort"]


class Bench:
    def __init__(self, cluster_file, folder, limit):
        self.cluster_file, self.folder, self.limit = cluster_file, Path(folder), limit
        self.runs = {}
        self.left_out = {}

    def command(self, name, n, threads, output):
        vectors = self.folder / f"{n}.f32"
        peer, _ = CONTESTANTS[name]
        if peer:
            return [sys.executable, HERE / "peer.py", *peer, vectors, str(threads), output]
        who = "ours" if name == "pg_speaker" else "crate"
        return [self.cluster_file, who, vectors, str(data.DIM), str(threads), output]

    def output(self, name, n, threads):
        return self.folder / f"{name.replace(' ', '_')}-{n}-{threads}.txt"

    def why_not(self, name, n, threads):
        if n > CONTESTANTS[name][1]:
            return "not tried"
        smaller = [(at, run) for (who, at, with_threads), run in self.runs.items()
                   if (who, with_threads) == (name, threads) and at < n]
        if not smaller or name == "pg_speaker":
            return None
        at, run = max(smaller, key=lambda pair: pair[0])
        growth = (n / at) ** 2
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
        # Only the brute algorithm's memory grows with the square, and it shows.
        if "brute" in name and run["peak_mb"] * growth > memory:
            return f"about {run['peak_mb'] * growth / 1000:.0f} GB expected"
        if run["seconds"] * growth > self.limit:
            return f"about {run['seconds'] * growth / 60:.0f} min expected"
        return None

    def run(self, name, n, threads):
        """Keeps the best of a contestant's runs."""
        key = (name, n, threads)
        reason = self.why_not(*key)
        if reason:
            self.left_out[key] = reason
            return
        cores = sorted(os.sched_getaffinity(0))[:threads]
        try:
            done = subprocess.run(
                [str(part) for part in self.command(name, n, threads, self.output(*key))],
                env=report.environment(threads),
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
                stdout=subprocess.PIPE, text=True, check=True, timeout=self.limit)
        except subprocess.TimeoutExpired:
            self.left_out[key] = f"stopped after {self.limit / 60:.0f} min"
            return
        run = {key: float(value) for key, value in (line.split("=") for line in done.stdout.split())}
        before = self.runs.get(key)
        print(name, n, f"{threads} threads", run, flush=True)
        if before is None or run["seconds"] < before["seconds"]:
            self.runs[key] = {**run, "load": round(os.getloadavg()[0], 1)}

    def rounds(self, n, threads, names):
        for turn in range(ROUNDS):
            for name in names:
                before = self.runs.get((name, n, threads))
                if turn == 0 or (before and before["seconds"] < QUICK):
                    self.run(name, n, threads)

    def answer(self, name, n, threads):
        """Labels and probabilities, or None if there was no such run."""
        if (name, n, threads) not in self.runs:
            return None
        labels, probabilities = numpy.loadtxt(self.output(name, n, threads), unpack=True)
        return labels.astype(int), probabilities

    def recall(self):
        results = json.loads((HERE / "results.json").read_text())
        for kept, rows in ((self.runs, results["runs"]), (self.left_out, results["left_out"])):
            for row in rows:
                kept[row.pop("who"), row.pop("n"), row.pop("threads")] = row.get("why", row)
        return results["machine"]

    def compare(self, n, threads, name):
        """In how many labels, and by how much in probabilities, ours differs from another's; and how many points are
        in another cluster if its number does not matter."""
        ours, other = (self.answer(who, n, threads) for who in ("pg_speaker", name))
        if ours is None or other is None:
            return None
        together = numpy.zeros([labels.max() + 1 for labels in (ours[0], other[0])], int)
        clustered = (ours[0] >= 0) & (other[0] >= 0)
        numpy.add.at(together, (ours[0][clustered], other[0][clustered]), 1)
        best = together[scipy.optimize.linear_sum_assignment(together, maximize=True)].sum()
        noise = ((ours[0] < 0) & (other[0] < 0)).sum()
        return {
            "labels": int((ours[0] != other[0]).sum()),
            "members": int(n - best - noise),
            "probability": float(numpy.abs(ours[1] - other[1]).max()),
        }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cluster_file")
    parser.add_argument("folder")
    parser.add_argument("--limit", type=float, default=3600)
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    bench = Bench(arguments.cluster_file, arguments.folder, arguments.limit)
    all_cores = report.cores()
    if arguments.again:
        machine = bench.recall()
        all_cores = machine["cores"]
    else:
        versions = {"numpy": numpy.__version__, "scikit-learn": sklearn.__version__, "crate hdbscan": "0.12.0"}
        machine = {**report.machine(), **versions}
        bench.folder.mkdir(parents=True, exist_ok=True)
        for n in SIZES:
            data.vectors(n).tofile(bench.folder / f"{n}.f32")
        bench.rounds(10_000, 1, ["pg_speaker", "scikit-learn brute"])
        for n in SIZES:
            bench.rounds(n, all_cores, CONTESTANTS)

    compared = {(name, n): bench.compare(n, all_cores, name)
                for name in CONTESTANTS if name.startswith("scikit-learn") for n in SIZES[:2]}
    compared = {key: differences for key, differences in compared.items() if differences}
    figures = summary(bench, compared, all_cores)
    publish(bench, machine, compared, figures)


def summary(bench, compared, threads):
    def best(what, threads):
        ours = bench.runs["pg_speaker", 10_000, threads][what]
        peers = [run[what] for (name, n, with_threads), run in bench.runs.items()
                 if name.startswith("scikit-learn") and (n, with_threads) == (10_000, threads)]
        return round(min(peers) / ours, 1)

    small, large = (bench.runs["pg_speaker", n, threads] for n in (10_000, 100_000))
    against = [compared[key] for key in compared if key[0] in REFERENCES]
    return {
        "hdbscan_10k_seconds": small["seconds"],
        "hdbscan_100k_seconds": large["seconds"],
        "hdbscan_10k_vs_sklearn": best("seconds", threads),
        "hdbscan_10k_vs_sklearn_one_core": best("seconds", 1),
        "hdbscan_10k_vs_sklearn_cpu": best("cpu_seconds", threads),
        "label_mismatches": sum(differences["labels"] for differences in against),
        "label_mismatches_default_sort": compared["scikit-learn brute", 10_000]["labels"],
        "member_mismatches_default_sort": compared["scikit-learn brute", 10_000]["members"],
        "probability_max_diff": f"{max(differences['probability'] for differences in against):.1e}",
        "hdbscan_growth": round(large["seconds"] / small["seconds"], 1),
        "hdbscan_growth_cpu": round(large["cpu_seconds"] / small["cpu_seconds"], 1),
        "hdbscan_100k_peak_mb": large["peak_mb"],
        "cancel_p99_ms": large["cancel_p99_ms"],
    }


def publish(bench, machine, compared, figures):
    threads = machine["cores"]
    series = {name: [(n, bench.runs[name, n, threads]["seconds"]) for n in SIZES if (name, n, threads) in bench.runs]
              for name in CONTESTANTS if not name.endswith("sort")}
    report.plot_log_log(HERE / "time.svg", f"HDBSCAN of n vectors, {data.DIM} dimensions, {threads} cores", "n",
                        "seconds", series)

    def cell(name, n, what, unit):
        run = bench.runs.get((name, n, threads))
        return report.quantity(run[what], unit) if run else bench.left_out[name, n, threads]

    times = report.table(
        ["", *(f"{n:,}" for n in SIZES), f"memory at {SIZES[1]:,}"],
        [[name, *(cell(name, n, "seconds", "s") for n in SIZES), cell(name, SIZES[1], "peak_mb", "MB")]
         for name in CONTESTANTS])
    differences = report.table(
        ["compared with", "n", "other label", "other cluster, whatever its number", "largest difference of a probability"],
        [[name, f"{n:,}", found["labels"], found["members"], f"{found['probability']:.1e}"]
         for (name, n), found in compared.items()])
    report.publish("cluster", machine, f"{times}\n![time against n](cluster/time.svg)\n\n{differences}", figures, {
        "runs": [{"who": name, "n": n, "threads": with_threads, **run}
                 for (name, n, with_threads), run in bench.runs.items()],
        "left_out": [{"who": name, "n": n, "threads": with_threads, "why": why}
                     for (name, n, with_threads), why in bench.left_out.items()],
        "differences": [{"who": name, "n": n, **differences} for (name, n), differences in compared.items()],
    })


if __name__ == "__main__":
    main()
