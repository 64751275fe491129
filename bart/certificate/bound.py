"""Compute the certified radius from counts of votes."""

import math
from functools import lru_cache

import torch

HALVINGS = 60
"""Steps of the bisection: beyond the precision of a double."""


@lru_cache(maxsize=65536)
def lower_bound(hits: int, draws: int, alpha: float) -> float:
    """Return the one-sided lower bound of Clopper and Pearson (1934): the least p at which `hits` or more of `draws` draws have
    a probability of `alpha`. So a true p below it has at most that chance to show that number of hits.

    It is the `alpha` quantile of Beta(hits, draws - hits + 1). Raises ValueError for counts or an `alpha` that cannot be.
    """
    if not 0 <= hits <= draws or draws < 1 or not 0 < alpha < 1:
        raise ValueError(f"{hits} of {draws} draws at alpha {alpha}: expected 0 to {draws} of 1 or more, and alpha in (0, 1)")
    if hits == 0:
        return 0.0
    most = min(draws, hits + int(40 * math.sqrt(draws)) + 100)  # what lies beyond adds less than 1e-100 of the sum
    count = torch.arange(hits, most + 1, dtype=torch.float64, device="cpu")
    ways = math.lgamma(draws + 1) - torch.lgamma(count + 1) - torch.lgamma(draws - count + 1)
    low, high = 0.0, hits / draws
    for _ in range(HALVINGS):
        p = (low + high) / 2
        tail = torch.logsumexp(ways + count * math.log(p) + (draws - count) * math.log1p(-p), 0)
        low, high = (low, p) if float(tail) > math.log(alpha) else (p, high)
    return low


def radius(hits: int, draws: int, sigma: float, alpha: float) -> float | None:
    """Return the L2 radius, in the unit of images in [0, 1], in which the smoothed classifier says this class, with a
    confidence of 1 - alpha; None where it abstains.

    hits   draws that say the class, of `draws` draws with Gaussian noise of standard deviation `sigma`
    It is sigma times the normal quantile of `lower_bound`, where that is above 1/2.
    """
    p = lower_bound(hits, draws, alpha)
    return sigma * float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64, device="cpu"))) if p > 0.5 else None
