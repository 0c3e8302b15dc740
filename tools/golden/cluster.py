#!/usr/bin/env python3
"""Writes crates/speaker_core/tests/golden/cluster from scikit-learn and the Python package hdbscan. Takes a quarter of an hour.

Environment, to be thrown away:  pip install scikit-learn==1.9.1 hdbscan==0.8.44 numpy==2.3.5
(With numpy 2.4 this scikit-learn fails where cluster_selection_epsilon is not 0.)

The vectors are not stored: `vectors` makes them from a seed by operations that are exact or correctly rounded, and
crates/speaker_core/tests/cluster_support makes the same bits.

Where edges of the spanning tree weigh the same, scikit-learn's answer depends on the order in which numpy's default
sort leaves equal keys. That sort is not stable and differs between processors. A case is only written if it is well
defined: if the tree algorithm and the brute one, each with the default and with a stable sort, give the same labels.
What depends on the sort even there, a few outlier scores, is from the stable one.
"""

import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import hdbscan
import numpy as np
import sklearn.cluster._hdbscan.hdbscan as sklearn_module
from sklearn.cluster import HDBSCAN

OUT = Path(__file__).resolve().parents[2] / "crates/speaker_core/tests/golden/cluster"

# (name, vectors, parameters). min_samples counts the point itself, as scikit-learn does.
CASES = [
    ("eom", dict(n=400, dim=16, clusters=8), dict(min_cluster_size=5)),
    ("leaf", dict(n=400, dim=16, clusters=8), dict(min_cluster_size=5, selection="leaf")),
    ("min_samples_1", dict(n=300, dim=24, clusters=6), dict(min_cluster_size=6, min_samples=1)),
    ("min_samples_12", dict(n=400, dim=24, clusters=6), dict(min_cluster_size=4, min_samples=12)),
    ("min_samples_150", dict(n=1500, dim=16, clusters=2, spread=0.3), dict(min_cluster_size=60, min_samples=150)),
    ("epsilon_eom", dict(n=400, dim=8, clusters=10), dict(min_cluster_size=4, epsilon=0.35)),
    ("epsilon_leaf", dict(n=400, dim=8, clusters=10), dict(min_cluster_size=4, epsilon=0.35, selection="leaf")),
    ("single", dict(n=200, dim=12, clusters=1, noise=0.3), dict(min_cluster_size=10, single=True)),
    ("single_epsilon", dict(n=200, dim=12, clusters=1, noise=0.3), dict(min_cluster_size=10, single=True, epsilon=0.6)),
    ("not_single", dict(n=200, dim=12, clusters=1, noise=0.3), dict(min_cluster_size=10)),
    ("several_though_single_is_allowed", dict(n=300, dim=32, clusters=5, spread=0.3), dict(min_cluster_size=5, single=True)),
    ("all_noise", dict(n=120, dim=64, clusters=1, noise=1.0, copies=0.0), dict(min_cluster_size=30)),
    ("half_copies", dict(n=400, dim=16, clusters=8, copies=0.5), dict(min_cluster_size=5)),
    ("copies_of_few", dict(n=60, dim=8, clusters=2, copies=0.9), dict(min_cluster_size=5)),
    ("plane", dict(n=400, dim=2, clusters=4, spread=0.1), dict(min_cluster_size=8)),
    ("pairs", dict(n=200, dim=48, clusters=60, spread=0.2), dict(min_cluster_size=2)),
    ("embeddings", dict(n=2000, dim=256, clusters=25), dict(min_cluster_size=5)),
    ("many", dict(n=10000, dim=64, clusters=100), dict(min_cluster_size=5)),
]
# Of larger cases every so many-th probability and score is kept; all labels are.
KEPT = {"min_samples_150": 10, "embeddings": 4, "many": 40}


class Random:
    """SplitMix64 by counter: the k-th draw of a seed does not depend on how draws are grouped."""

    def __init__(self, seed):
        self.next = np.uint64(seed)

    def uniform(self, *shape):
        """In [0, 1), multiples of 2^-53."""
        with np.errstate(over="ignore"):
            count = np.uint64(np.prod(shape, dtype=int))
            z = self.next + np.arange(1, count + np.uint64(1), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            self.next += count * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        return ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def below(self, limit, count):
        return (self.uniform(count) * limit).astype(int)

    def bell(self, *shape):
        """Near normal with variance 1/3, by sums that are exact."""
        u = self.uniform(*shape, 4)
        return (u[..., 0] + u[..., 1] + u[..., 2] + u[..., 3]) - 2.0


def vectors(seed, n, dim, clusters, spread=0.6, noise=0.1, copies=0.05):
    """Clusters of uneven size and width, every third near another; noise; rows copied from others."""
    random = Random(seed)
    centres = random.bell(clusters, dim)
    for i in range(clusters // 3):
        centres[i] = centres[i + clusters // 3] + 0.5 * random.bell(dim)
    widths = spread * (0.5 + random.uniform(clusters))
    # The product of two uniform numbers prefers small ones: clusters of uneven size.
    membership = (random.uniform(n) * random.uniform(n) * clusters).astype(int)
    points = centres[membership] + widths[membership][:, None] * random.bell(n, dim)
    is_noise = random.uniform(n) < noise
    elsewhere = random.bell(n, dim)
    points[is_noise] = elsewhere[is_noise]
    points = points.astype(np.float32)
    is_copy = random.uniform(n) < copies
    source = random.below(n, n)
    original = points.copy()
    points[is_copy] = original[source[is_copy]]
    return points


def unit(points):
    points = points.astype(np.float64)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


class StableNumpy:
    """numpy with a stable argsort, to stand in for it inside scikit-learn."""

    def __getattr__(self, name):
        return getattr(np, name)

    def argsort(self, keys):
        return np.argsort(keys, kind="stable")


def fit(points, algorithm, stable, min_cluster_size, min_samples=None, epsilon=0.0, selection="eom", single=False):
    sklearn_module.np = StableNumpy() if stable else np
    model = HDBSCAN(
        algorithm=algorithm,
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
        cluster_selection_epsilon=epsilon,
        cluster_selection_method=selection,
        allow_single_cluster=single,
        copy=True,
    )
    return model.fit(points)


# (algorithm, stable sort). The quickest first: they may already disagree.
WAYS = [("brute", False), ("brute", True), ("kd_tree", False), ("kd_tree", True)]


def outlier_scores(model, min_cluster_size):
    """The package's scores of scikit-learn's tree."""
    tree = model._single_linkage_tree_
    tree = np.column_stack([tree[field].astype(np.float64) for field in tree.dtype.names])
    return hdbscan._hdbscan_tree.outlier_scores(hdbscan._hdbscan_tree.condense_tree(tree, min_cluster_size))


def well_defined(points, parameters):
    """scikit-learn's answer by the tree algorithm with a stable sort, or None if its ways disagree.

    Of the brute way only labels are asked: it computes distances as sqrt(x.x + y.y - 2 x.y), which leaves 1e-8 between
    equal points. Outlier scores may depend on the sort where labels do not, so those of the stable one are kept."""
    models = []
    for algorithm, stable in WAYS:
        models.append(fit(points, algorithm, stable, **parameters))
        if (models[-1].labels_ != models[0].labels_).any():
            return None
    default, stable = models[2:]
    return stable if np.allclose(default.probabilities_, stable.probabilities_, rtol=0, atol=1e-9) else None


def predictions(points, new, model, min_cluster_size, min_samples=None, epsilon=0.0, selection="eom", single=False):
    """From the package. None where it finds other clusters, and where the root is a cluster: there it predicts noise,
    even for the points that it put into the cluster."""
    # It counts min_samples without the point itself.
    samples = (min_samples or min_cluster_size) - 1
    if samples < 1 or model.labels_.max() < 0 or (single and model.labels_.max() == 0):
        return None
    package = hdbscan.HDBSCAN(
        min_cluster_size=min_cluster_size,
        min_samples=samples,
        cluster_selection_epsilon=epsilon,
        cluster_selection_method=selection,
        allow_single_cluster=single,
        algorithm="prims_kdtree",
        prediction_data=True,
    ).fit(points)
    if (package.labels_ != model.labels_).any():
        return None
    return hdbscan.approximate_predict(package, new)


def round_all(values):
    """Nine places, and null for what is not a number."""
    return [None if np.isnan(value) else round(float(value), 9) for value in values]


def case(name, shape, parameters):
    """The first seed for which the case is well defined."""
    for seed in range(1, 200):
        points = vectors(seed, **shape)
        model = well_defined(unit(points), parameters)
        # New points are halfway between two old ones.
        new = (points[0:100:2] + points[1:100:2]) * np.float32(0.5)
        if model is None or not np.linalg.norm(new, axis=1).all():
            continue
        scores = outlier_scores(model, parameters["min_cluster_size"])
        predicted = predictions(unit(points), unit(new), model, **parameters)
        step = KEPT.get(name, 1)
        written = {
            "name": name,
            "vectors": {"seed": seed, "spread": 0.6, "noise": 0.1, "copies": 0.05, **shape},
            "parameters": {"min_samples": None, "epsilon": 0.0, "selection": "eom", "single": False, **parameters},
            "labels": model.labels_.tolist(),
            "kept": step,
            "probabilities": round_all(model.probabilities_[::step]),
            "outlier_scores": round_all(scores[::step]),
            "predicted_labels": None if predicted is None else predicted[0].tolist(),
            "predicted_probabilities": None if predicted is None else round_all(predicted[1]),
        }
        print(f"{name}: seed {seed}, {model.labels_.max() + 1} clusters, {(model.labels_ < 0).sum()} noise, "
              f"predictions {predicted is not None}", flush=True)
        return written
    raise SystemExit(f"{name}: no seed is well defined")


def write():
    packages = ["scikit-learn", "hdbscan", "numpy", "scipy"]
    certificate = {
        "generator": "tools/golden/cluster.py",
        "packages": {package: importlib.metadata.version(package) for package in packages},
        "python": sys.version.split()[0],
        "tolerance": "labels: none; probabilities and scores: 1e-6 (written to 1e-9; sums run in another order)",
    }
    cases = [case(*one) for one in CASES]
    OUT.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in cases)
    (OUT / "sklearn.json").write_text(f'{{"certificate":{json.dumps(certificate)},\n"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write()
