"""The vectors of the benchmark: speakers of very different sizes that overlap, background noise, exact duplicates."""

import numpy as np

DIM = 256
SEED = 20261121


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def von_mises_fisher(random, centre, kappa, count):
    """Directions around a centre, the more concentrated the higher kappa (Wood 1994)."""
    dim = len(centre)
    b = (dim - 1) / (2 * kappa + np.sqrt(4 * kappa**2 + (dim - 1) ** 2))
    x = (1 - b) / (1 + b)
    c = kappa * x + (dim - 1) * np.log(1 - x**2)
    cosines = np.empty(0)
    while len(cosines) < count:
        z = random.beta((dim - 1) / 2, (dim - 1) / 2, count)
        w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
        accepted = kappa * w + (dim - 1) * np.log(1 - x * w) - c >= np.log(random.random(count))
        cosines = np.append(cosines, w[accepted])
    cosines = cosines[:count, None]
    aside = random.standard_normal((count, dim))
    aside = unit(aside - (aside @ centre)[:, None] * centre)
    return cosines * centre + np.sqrt(1 - cosines**2) * aside


def vectors(n):
    """n x DIM float32. Concentrations run from those of clean to those of noisy speech: the mean cosine of two
    utterances of a speaker is 0.8 to 0.4, of two speakers 0.25, and every fifth speaker sounds like another (0.85)."""
    random = np.random.default_rng(SEED)
    voice = unit(random.standard_normal(DIM))
    speakers = max(4, n // 40)
    centres = von_mises_fisher(random, voice, concentration(0.25), speakers)
    for speaker in range(5, speakers, 5):
        centres[speaker] = von_mises_fisher(random, centres[speaker - 1], concentration(0.85), 1)[0]
    # Zipf's sizes: some speakers have a few percent of everything, most a handful.
    weights = 1 / np.arange(10, 10 + speakers)
    background = n // 10
    sizes = random.multinomial(n - background, random.permutation(weights / weights.sum()))
    kappas = [concentration(cosine) for cosine in random.uniform(0.4, 0.8, speakers)]
    points = [von_mises_fisher(random, *speaker) for speaker in zip(centres, kappas, sizes)]
    points.append(von_mises_fisher(random, voice, concentration(0.15), background))
    points = random.permutation(np.concatenate(points).astype(np.float32))
    copies = random.choice(n, n // 50, replace=False)
    points[copies] = points[random.integers(0, n, len(copies))]
    return points


def concentration(cosine):
    """The kappa for which two directions have that mean cosine (Banerjee et al. 2005, equation 4.4)."""
    length = np.sqrt(cosine)
    return length * (DIM - cosine) / (1 - cosine)
