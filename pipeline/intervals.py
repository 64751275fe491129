"""95 % intervals of a rate over images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959963984540054


@dataclass(frozen=True)
class Rate:
    """A rate in [0, 1] with its 95 % interval, and the images behind it."""

    value: float
    low: float
    high: float
    images: int

    @property
    def brief(self) -> str:
        """In percent, for a terminal: the interval in whole points, under the rate."""
        return f"{100 * self.value:.1f}\n{100 * self.low:.0f} to {100 * self.high:.0f}"

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def wilson(value: float, trials: float) -> tuple[float, float]:
    """The interval of Wilson (1927) for a rate seen in `trials` independent trials."""
    centre = (value + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z / (1 + Z * Z / trials) * math.sqrt(value * (1 - value) / trials + Z * Z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(shares: Sequence[float]) -> Rate | None:
    """The mean of one share per image, each in [0, 1]: images are the clusters, an image's draws are not independent.

    Wilson's interval at the effective sample size p (1 - p) / var(mean) (Korn and Graubard, 1998), which is the number of
    images where every draw of an image agrees and more where draws differ; never less than the images. None of no images.
    """
    n = len(shares)
    if n == 0:
        return None
    mean = sum(shares) / n
    variance = sum((share - mean) ** 2 for share in shares) / max(1, n - 1) / n
    trials = max(float(n), mean * (1 - mean) / variance) if variance > 0 else float(n)
    return Rate(mean, *wilson(mean, trials), n)
