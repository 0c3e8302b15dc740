"""One run of scikit-learn's HDBSCAN: peer.py ALGORITHM default|stable VECTORS THREADS OUTPUT

What is timed is `fit` on vectors that are normalised already, as float64, which is what scikit-learn would otherwise
turn them into. "stable" replaces numpy's sort of the tree's edges: see README.md.
"""

import sys
import time
from pathlib import Path

import numpy as np
import sklearn.cluster._hdbscan.hdbscan as module
from data import DIM, unit
from sklearn.cluster import HDBSCAN


class StableNumpy:
    """numpy with a stable argsort, to stand in for it inside scikit-learn."""

    def __getattr__(self, name):
        return getattr(np, name)

    def argsort(self, keys):
        return np.argsort(keys, kind="stable")


def main(algorithm, sort, vectors, threads, output):
    if sort == "stable":
        module.np = StableNumpy()
    points = unit(np.fromfile(vectors, "<f4").reshape(-1, DIM).astype(np.float64))
    model = HDBSCAN(min_cluster_size=5, algorithm=algorithm, n_jobs=int(threads), copy=False)
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(points)
    print(f"seconds={time.perf_counter() - start:.3f}")
    print(f"cpu_seconds={time.process_time() - cpu:.2f}")
    # Not ru_maxrss: a child starts with its parent's.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(f"peak_mb={int(status['VmHWM'].split()[0]) * 1024 / 1e6:.1f}")
    np.savetxt(output, np.column_stack([model.labels_, model.probabilities_]), fmt=["%d", "%.17g"])


if __name__ == "__main__":
    main(*sys.argv[1:])
