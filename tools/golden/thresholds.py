#!/usr/bin/env python3
"""Fits the thresholds of models/ge2e.toml on the golden vectors and prints the tables of docs/decisions/002-thresholds.md.

Ten readers with ten utterances each are few, so that a threshold is fitted without the readers that it is tested on: two
readers are left out in turn (45 folds), the threshold with the least of the larger of the two error rates is found on the
other eight, and counted are the errors on trials of the two. Numpy only; every draw comes from SEED.
"""

import csv
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/accept"))
from metrics import cosines, equal_error_rate, pair_trials  # noqa: E402

SEED = 20_261_121
GRID = np.round(np.arange(0.5, 1.0, 0.002), 3)


def read():
    """Embeddings of whole utterances, and of their first 2 s of speech, NaN where they have less. Both are [reader,
    utterance, dim]."""
    golden = ROOT / "tests/accept/golden"
    names = (golden / "librispeech_whole.txt").read_text().split()
    whole = np.load(golden / "librispeech_whole.npy").astype(np.float64)
    crops = np.full_like(whole, np.nan)
    with (golden / "librispeech_crops_2s.csv").open() as file:
        at = [names.index(row["file"]) for row in csv.DictReader(file)]
    crops[at] = np.load(golden / "librispeech_crops_2s.npy")
    readers = sorted({name.split("-")[0] for name in names})
    rows = [[at for at, name in enumerate(names) if name.startswith(f"{reader}-")] for reader in readers]
    return whole[rows], crops[rows]


def open_set(vectors, queries, enrolled, per_speaker, random):
    """One trial for each query of an utterance not used to enrol: (reader, is a stranger, best score, best is the right
    one)."""
    utterances = vectors.shape[1]
    used = {reader: random.permutation(utterances)[:per_speaker] for reader in enrolled}
    # Not normalised again: an inner product with it is the average similarity to the embeddings.
    means = np.array([vectors[reader][used[reader]].mean(axis=0) for reader in enrolled])
    trials = []
    for reader in range(len(vectors)):
        stranger = reader not in used
        left = np.arange(utterances) if stranger else np.setdiff1d(np.arange(utterances), used[reader])
        left = left[~np.isnan(queries[reader][left, 0])]
        scores = queries[reader][left] @ means.T
        right = np.zeros(len(left), bool) if stranger else scores.argmax(axis=1) == enrolled.index(reader)
        trials += [(reader, stranger, best, hit) for best, hit in zip(scores.max(axis=1), right)]
    return trials


def all_splits(vectors, queries, readers, per_speaker, draws):
    """Every half of the readers enrolled once a draw, the other half strangers. Columns as in open_set."""
    random = np.random.default_rng(SEED)
    chosen, asked = vectors[readers], queries[readers]
    rows = []
    for _ in range(draws):
        for enrolled in combinations(range(len(readers)), len(readers) // 2):
            rows += open_set(chosen, asked, list(enrolled), per_speaker, random)
    trials = np.array(rows, np.float64)
    trials[:, 0] = np.asarray(readers)[trials[:, 0].astype(int)]
    return trials


def error_rates(trials, threshold):
    """(strangers accepted as somebody, known rejected or taken for another), in percent."""
    stranger, score, right = trials[:, 1] == 1, trials[:, 2], trials[:, 3] == 1
    accepted = score >= threshold
    return 100 * np.mean(accepted[stranger]), 100 * np.mean(~(accepted & right)[~stranger])


def least_worst(trials):
    """The threshold with the least of the larger error rate; the middle, where a stretch of the grid has it."""
    worst = np.array([max(error_rates(trials, threshold)) for threshold in GRID])
    best = GRID[worst <= worst.min() + 1e-9]
    return float(best[0] + best[-1]) / 2


def left_out(vectors, per_speaker):
    """Thresholds of the folds, and the errors on readers that were left out."""
    everyone = all_splits(vectors, vectors, list(range(len(vectors))), per_speaker, draws=1)
    thresholds, errors = [], []
    for pair in combinations(range(len(vectors)), 2):
        others = [reader for reader in range(len(vectors)) if reader not in pair]
        threshold = least_worst(all_splits(vectors, vectors, others, per_speaker, draws=1))
        thresholds.append(threshold)
        errors.append(error_rates(everyone[np.isin(everyone[:, 0], pair)], threshold))
    return np.array(thresholds), np.mean(errors, axis=0)


def mean_pairs(vectors, per_mean, draws):
    """Cosines of means of disjoint utterances: of the same reader, and of different ones."""
    random = np.random.default_rng(SEED)
    same, different = [], []
    for _ in range(draws):
        halves = []
        for reader in vectors:
            order = random.permutation(np.flatnonzero(~np.isnan(reader[:, 0])))
            halves.append((reader[order[:per_mean]].mean(axis=0), reader[order[per_mean : 2 * per_mean]].mean(axis=0)))
        first, second = map(np.array, zip(*halves))
        scores = cosines(first, second)
        off = ~np.eye(len(vectors), dtype=bool)
        same += list(np.diag(scores))
        different += list(scores[off])
    return np.array(same), np.array(different)


def rates_at(same, different, threshold):
    return 100 * np.mean(different >= threshold), 100 * np.mean(same < threshold)


def table(title, rates, thresholds):
    print(f"{title}\n\n| threshold | false accepts % | false rejects % |\n| --- | --- | --- |")
    for threshold in thresholds:
        print("| {:.2f} | {:.2f} | {:.2f} |".format(threshold, *rates(threshold)))
    print()


def pair_table(title, same, different, thresholds):
    rate, at = equal_error_rate(same, different)
    title = f"{title}: same {same.min():.3f} to {same.max():.3f}, different up to {different.max():.3f}, "
    table(f"{title}equal error {100 * rate:.2f} % at {at:.3f}", lambda t: rates_at(same, different, t), thresholds)


def utterance_pairs(vectors):
    labels = np.repeat(np.arange(len(vectors)), vectors.shape[1])
    flat = vectors.reshape(-1, vectors.shape[-1])
    present = ~np.isnan(flat[:, 0])
    return pair_trials(cosines(flat[present], flat[present]), labels[present])


def main():
    whole, crops = read()
    everyone = list(range(len(whole)))
    high = np.arange(0.74, 0.87, 0.02)
    near = (0.66, 0.68, 0.70, 0.71, 0.72, 0.73, 0.74, 0.76)
    for name, vectors in (("whole", whole), ("2 s", crops)):
        pair_table(f"utterance, {name}", *utterance_pairs(vectors), near)

    for per_speaker in (1, 2, 3, 5):
        thresholds, errors = left_out(whole, per_speaker)
        title = (
            f"speaker, mean of {per_speaker}: folds {thresholds.min():.3f} to {thresholds.max():.3f}, "
            f"median {np.median(thresholds):.3f}; left out: {errors[0]:.2f} % and {errors[1]:.2f} %"
        )
        trials = all_splits(whole, whole, everyone, per_speaker, draws=4)
        table(title, lambda t: error_rates(trials, t), near)
    trials = all_splits(whole, crops, everyone, 5, draws=4)
    table("speaker, queries of 2 s, mean of 5 whole utterances", lambda t: error_rates(trials, t), near)

    for per_mean in (1, 2, 3, 5):
        pair_table(f"centroid, {per_mean} against {per_mean}", *mean_pairs(whole, per_mean, 200), high)
    pair_table("centroid, 3 of 2 s against 3 of 2 s", *mean_pairs(crops, 3, 200), high)


if __name__ == "__main__":
    main()
