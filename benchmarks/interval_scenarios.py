"""Compute the intervals of release 0.1, and hold the pairs of cells that benchmarks/intervals.py compares."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.random import Generator

from pipeline.scoring.evidence import mean_keeps, rate_end, rate_keeps
from pipeline.scoring.intervals import Z

Array = np.ndarray[Any, np.dtype[Any]]
Pair = Callable[[Generator, int], tuple[Array, Array]]
"""Returns the chances of images in two cells, given how many images."""


def moments(counts: Array, values: Array) -> tuple[Array, Array, Array]:
    """Return the number of images of each sample, their mean and variance; counts (samples, values)."""
    images = counts.sum(1)
    mean = counts @ values / images
    return images, mean, np.maximum(0, counts @ values**2 / images - mean**2)


def wilson_at_effective_size(counts: Array, shares: Array) -> tuple[Array, Array]:
    """Return the ends of release 0.1's intervals of rates: Wilson's, at the effective sample size; counts (samples, shares)."""
    images, mean, spread = moments(counts, shares)
    mean = np.minimum(1, mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.maximum(images, mean * (1 - mean) / (spread / np.maximum(1, images - 1)))
    size = np.where(spread < 1e-14, images, effective)
    centre, half = mean + Z * Z / (2 * size), Z * np.sqrt(mean * (1 - mean) / size + Z * Z / (4 * size * size))
    scale = 1 + Z * Z / size
    return np.maximum(0, (centre - half) / scale), np.minimum(1, (centre + half) / scale)


def normal(counts: Array, values: Array) -> tuple[Array, Array]:
    """Return the ends of a mean's interval by the normal distribution, close to the bootstrap of release 0.1."""
    images, mean, spread = moments(counts, values)
    half = Z * np.sqrt(spread / np.maximum(1, images - 1))
    return mean - half, mean + half


def covered(low: Array, high: Array, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


@njit(cache=True)
def held(counts: Array, values: Array, mean: float, added: float) -> int:
    """Return how many samples' intervals hold the mean: of a rate; with `added` images at the ends, of a mean of any kind."""
    hits, images, mean = 0, counts[0].sum(), min(max(mean, 1e-12), 1 - 1e-12)
    for row in counts:
        there = np.flatnonzero(row)
        shares, weights = values[there], row[there]
        if added:
            above = mean_keeps(np.append(shares, 1.0), np.append(weights, added), mean, Z)
            below = mean_keeps(np.append(1 - shares, 1.0), np.append(weights, added), 1 - mean, Z)
        else:
            above = rate_keeps(shares, weights, images, mean, Z)
            below = rate_keeps(1 - shares, weights, images, 1 - mean, Z)
        hits += above and below
    return hits


@njit(cache=True)
def at_stop(checks: Array, shares: Array, narrow: float) -> tuple[float, float]:
    """Return both ends of the interval at the first check that is narrow enough, or at the last; checks (checks, shares)."""
    low, high = 0.0, 1.0
    for row in checks:
        there = np.flatnonzero(row)
        high = rate_end(shares[there], row[there], Z)
        low = 1 - rate_end(1 - shares[there], row[there], Z)
        if (high - low) / 2 <= narrow:
            break
    return low, high


def alike(total: float, mean: float, random: Generator, images: int) -> tuple[Array, Array]:
    chances = random.beta(mean * total, (1 - mean) * total, images)
    return chances, chances


def apart(total: float, mean: float, random: Generator, images: int) -> tuple[Array, Array]:
    chances = random.beta(mean * total, (1 - mean) * total, images)
    return chances, chances * random.random(images)


def rarely(share: float, high: float, low: float, random: Generator, images: int) -> tuple[Array, Array]:
    """Return two chances that differ for a share of the images only: `high` against `low`."""
    return np.where(random.random(images) < share, high, low), np.full(images, low)


def swapped(share: float, random: Generator, images: int) -> tuple[Array, Array]:
    """Return chances of 0 or 1, of which a share differs, three in four in favour of the first."""
    same, differs, first = random.random(images) < 0.5, random.random(images) < share, random.random(images) < 0.75
    return np.where(differs, first, same).astype(float), np.where(differs, ~first, same).astype(float)


PAIRS: dict[str, list[Pair]] = {
    "the same chances": [partial(alike, total, mean) for total in (0.1, 2, 10) for mean in (0.02, 0.3, 0.5)],
    "one lower by half": [partial(apart, total, mean) for total in (0.1, 2, 10) for mean in (0.02, 0.3, 0.9)],
    "3 % differ, .8 and .02": [partial(rarely, 0.03, 0.8, 0.02), partial(rarely, 0.03, 0.2, 0.98)],
    "some differ, 0 and 1": [partial(swapped, share) for share in (0.03, 0.1, 0.5)],
}
"""{how two cells differ: the pairs}."""
