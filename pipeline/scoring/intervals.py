"""Compute rates over images with their 95 % intervals."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

_NOISE = 1e-14
"""Variances below this are rounding errors: one different image in ten million makes a larger one."""


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


def wilson(value: float, trials: float) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for a rate observed in `trials` independent trials."""
    centre = (value + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z / (1 + Z * Z / trials) * math.sqrt(value * (1 - value) / trials + Z * Z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Moments:
    """Hold the count, sum and sum of squares of one share per image, each in [0, 1].

    Moments of different images can be added, so ten million rows take one pass.
    """

    images: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, shares: ArrayLike) -> "Moments":
        """Return the moments of shares (images,)."""
        values = np.asarray(shares, dtype=np.float64)
        return cls(len(values), float(values.sum()), float((values**2).sum()))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.images + other.images, self.total + other.total, self.squares + other.squares)

    @property
    def rate(self) -> Rate | None:
        """Return the mean share with its interval; None without images.

        Images are the clusters, since the draws of an image are not independent. The interval is Wilson's at the effective
        sample size p (1 - p) / var(mean) (Korn and Graubard, 1998), but never less than the number of images. The two are
        equal if all draws of each image agree.
        """
        n = self.images
        if n == 0:
            return None
        mean = min(1.0, self.total / n)
        spread = self.squares / n - mean * mean
        if spread < _NOISE:
            return Rate(mean, *wilson(mean, n), n)
        variance = spread / max(1, n - 1)
        return Rate(mean, *wilson(mean, max(float(n), mean * (1 - mean) / variance)), n)


def rate(shares: ArrayLike) -> Rate | None:
    """Return the mean of shares (images,), each in [0, 1], with its interval; None without images."""
    return Moments.of(shares).rate


def half_width(values: ArrayLike) -> float:
    """Return half the 95 % interval of a mean, by the normal distribution; `values` (n,), one an image, n at least 1."""
    numbers = np.asarray(values, dtype=np.float64)
    n = len(numbers)
    return Z * math.sqrt(float(((numbers - numbers.mean()) ** 2).sum()) / max(1, n - 1) / n)


def paired_difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Return the mean of a - b over the same images, and half its 95 % interval; `a` and `b` (n,), one value an image."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return float(difference.mean()), half_width(difference)
