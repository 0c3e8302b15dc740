"""Figures of speaker verification from raw cosine scores. Used by the acceptance run and by the golden generators, so
that both mean the same by an equal error rate. Numpy only."""

import numpy as np


def cosines(a, b):
    """Cosine of every row of a with every row of b, in float64."""
    a, b = (np.asarray(rows, np.float64) for rows in (a, b))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return a @ b.T


def pair_trials(scores, speakers):
    """Scores of all pairs i < j of an n x n matrix, as (same speaker, different speakers)."""
    speakers = np.asarray(speakers)
    first, second = np.triu_indices(len(speakers), 1)
    same = speakers[first] == speakers[second]
    values = np.asarray(scores)[first, second]
    return values[same], values[~same]


def ordered_trials(scores, speakers):
    """Scores of all ordered pairs i != j of an n x n matrix whose rows and columns differ in how they were recorded, as
    (same speaker, different speakers)."""
    speakers = np.asarray(speakers)
    same = speakers[:, None] == speakers[None, :]
    other = ~np.eye(len(speakers), dtype=bool)
    scores = np.asarray(scores)
    return scores[same & other], scores[~same]


def equal_error_rate(same, different):
    """(rate, threshold) at which as many of `same` are rejected as of `different` are accepted.

    A score at or above the threshold is accepted. The two rates are steps over the observed scores and rarely meet on
    one: between the two operating points where their order changes, both rates and the threshold are interpolated
    linearly.
    """
    same, different = np.sort(np.asarray(same, np.float64)), np.sort(np.asarray(different, np.float64))
    if not len(same) or not len(different):
        raise ValueError(f"{len(same)} trials of the same speaker and {len(different)} of different ones")
    # One threshold above every score, so that the last operating point accepts nothing.
    scores = np.unique(np.concatenate([same, different]))
    scores = np.append(scores, np.nextafter(scores[-1], np.inf))
    rejected = np.searchsorted(same, scores, "left") / len(same)
    accepted = 1 - np.searchsorted(different, scores, "left") / len(different)
    # At the lowest score everything is accepted, at the last nothing: the difference changes sign in between.
    difference = rejected - accepted
    after = int(np.argmax(difference >= 0))
    before = after - 1
    share = difference[before] / (difference[before] - difference[after])
    rate = rejected[before] + share * (rejected[after] - rejected[before])
    return float(rate), float(scores[before] + share * (scores[after] - scores[before]))


def rank_1(scores, speakers):
    """The share of utterances whose most similar other utterance has the same speaker."""
    others = np.array(scores, np.float64)
    np.fill_diagonal(others, -np.inf)
    speakers = np.asarray(speakers)
    return float(np.mean(speakers[others.argmax(axis=1)] == speakers))
