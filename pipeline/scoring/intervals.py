"""Compute rates over images, and differences of rates on the same images, with their 95 % intervals.

Images are the clusters, since the draws of an image are not independent. docs/intervals.md tells how often the intervals cover
the truth, and why they are these.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

VERSION = 2
"""Version of the interval. Version 1, of release 0.1, was too narrow where few images are right."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Rate:
    """Hold a rate in [0, 1], the ends of its 95 % interval, and its number of images."""

    value: float
    low: float
    high: float
    images: int

    @property
    def brief(self) -> str:
        """Return percent in two lines for a terminal: the rate, and below it the interval in whole points."""
        return f"{100 * self.value:.1f}\n{100 * self.low:.0f} to {100 * self.high:.0f}"

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Difference:
    """Hold a difference of two rates in [-1, 1], the ends of its 95 % interval, and the number of images that both have."""

    value: float
    low: float
    high: float
    images: int

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def wilson(value: float, trials: float) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for a rate observed in `trials` independent trials."""
    centre = (value + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z / (1 + Z * Z / trials) * math.sqrt(value * (1 - value) / trials + Z * Z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, eq=False)
class Sample:
    """Hold the distinct shares of images, ascending in [0, 1], and how many images have each.

    Samples of different images can be added, so ten million rows take one pass: n draws have n + 1 possible shares.
    """

    shares: Array
    counts: Array

    @classmethod
    def of(cls, shares: ArrayLike, images: ArrayLike | None = None) -> "Sample":
        """Return the sample of shares (n,), each of one image or of as many as `images` (n,), at least 1, says."""
        every = np.asarray(shares, dtype=np.float64)
        order = np.argsort(every)
        ordered = every[order]
        assert not len(ordered) or 0 <= ordered[0] <= ordered[-1] <= 1, "shares are in [0, 1]"
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(ordered) else order
        weights = np.ones(len(every)) if images is None else np.asarray(images, dtype=np.float64)[order]
        return cls(ordered[begins], np.add.reduceat(weights, begins) if len(begins) else weights)

    def __add__(self, other: "Sample") -> "Sample":
        shares, place = np.unique(np.concatenate([self.shares, other.shares]), return_inverse=True)
        counts = np.zeros(len(shares))
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return Sample(shares, counts)

    @property
    def images(self) -> int:
        return int(self.counts.sum())

    @property
    def rate(self) -> Rate | None:
        """Return the mean share with its interval; None without images.

        Every image's share is one observation of a bounded variable: see `evidence.rate_keeps`.
        """
        if not self.images:
            return None
        from pipeline.scoring.evidence import rate_end  # loads numba

        return Rate(self._mean(), *self._ends(rate_end), self.images)

    @property
    def difference(self) -> Difference | None:
        """Return the mean of differences d in [-1, 1], with its interval; the shares are (d + 1) / 2. None without images.

        An image that the sample does not show may differ by any amount: see `evidence.mean_keeps`.
        """
        if not self.images:
            return None
        from pipeline.scoring.evidence import mean_end  # loads numba

        low, high = self._ends(mean_end)
        return Difference(2 * self._mean() - 1, 2 * low - 1, 2 * high - 1, self.images)

    def _mean(self) -> float:
        """Return the mean of the shares, the same on every machine: sums of libraries depend on where arrays lie in memory."""
        return math.fsum(self.shares * self.counts) / self.images

    def _ends(self, end: Callable[[Array, Array, float], float]) -> tuple[float, float]:
        """Return both ends of an interval, given the function of the upper one."""
        return 1 - end(1 - self.shares[::-1], self.counts[::-1], Z), end(self.shares, self.counts, Z)


def rate(shares: ArrayLike) -> Rate | None:
    """Return the mean of shares (images,), each in [0, 1], with its interval; None without images."""
    return Sample.of(shares).rate


def difference(a: ArrayLike, b: ArrayLike) -> Difference | None:
    """Return the mean of a - b over the same images with its interval; `a` and `b` (images,), in [0, 1]; None without images.

    An image that the sample does not show may differ by any amount: see `evidence.mean_keeps`.
    """
    return mean_difference(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))


def mean_difference(differences: ArrayLike) -> Difference | None:
    """Return the mean of differences (images,), each in [-1, 1], with its interval; None without images."""
    found = np.asarray(differences, dtype=np.float64)
    whole = Sample.of((found + 1) / 2).difference
    return replace(whole, value=math.fsum(found) / len(found)) if whole else None


def half_width(values: ArrayLike) -> float:
    """Return half the 95 % interval of a mean, by the normal distribution; `values` (n,), one an image, n at least 1.

    For few images it is too narrow, and with one it is 0: for warnings, not for tables.
    """
    numbers = np.asarray(values, dtype=np.float64)
    n = len(numbers)
    return Z * math.sqrt(float(((numbers - numbers.mean()) ** 2).sum()) / max(1, n - 1) / n)


def paired_difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Return the mean of a - b over the same images, and its `half_width`; `a` and `b` (n,), one value an image."""
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return float(differences.mean()), half_width(differences)
