"""Drop values of each image at random and fill them in by minimising the total variation (Guo et al., ICLR 2018).

The solver is a primal-dual method with fixed step lengths (Chambolle, Pock, J. Math. Imaging Vis. 2011). Its number of steps is
fixed too, so no image waits for another: after 100 the objective is within 1 % of its minimum on photographs of 32 to 224 px
(tests/bart/defenses/test_total_variation.py).
"""

import math
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from bart import rng
from bart.defenses.preprocessors.transformed import Transformed
from bart.types import Gradient, Params, Transform

STEPS = 100
"""Steps of the solver."""

BALANCE = 0.1
"""Step length of the image over that of the dual variables, for an image of one pixel; it grows with the root of the pixels."""


@dataclass(frozen=True)
class TotalVariation(Transformed):
    """Keep each value of an image x with probability `keep`, and take the image z that minimises, for each channel alone,

        ||mask (z - x)||_2 + weight (sum over rows ||z_i - z_{i-1}||_2 + sum over columns ||z_j - z_{j-1}||_2)

    It has no useful gradient; the identity replaces it, by which Athalye et al. (ICML 2018) break it. Raises ValueError for a
    `keep` outside (0, 1], or a weight that is not positive.
    """

    keep: float = 0.5
    weight: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep = {self.keep}: expected a share of the values, more than 0 and at most 1")
        if not self.weight > 0:
            raise ValueError(f"weight = {self.weight}: expected more than 0")

    @property
    def random(self) -> bool:
        """Return whether any value is dropped."""
        return self.keep < 1

    @property
    def cost(self) -> float:
        """Return what the steps of the solver cost, about ten transforms."""
        return 10.0

    @cached_property
    def transform(self) -> Transform:
        """Drop values and fill them in."""

        def fill(x: Tensor, params: Params) -> Tensor:
            kept = (rng.field(params["seed"], tuple(x.shape[1:])) < self.keep).to(x.dtype)
            return minimised(x, kept, self.weight)

        return Transform("tv", "tv", lambda keys, size: {"seed": rng.fold(keys, "tv")}, fill, Gradient.NONE)


def minimised(x: Tensor, kept: Tensor, weight: float) -> Tensor:
    """Return the minimiser z of `TotalVariation`'s objective, (n, c, h, w), from images `x` and their masks `kept`, 0 or 1."""
    balance = BALANCE * math.sqrt(x.shape[-2] * x.shape[-1])
    tau, sigma = balance / 3, 1 / (3 * balance)  # their product is 1 / 9, the operator's norm is at most 3
    z = x * kept + (1 - kept) * (x * kept).mean((2, 3), keepdim=True) / kept.mean((2, 3), keepdim=True).clamp_min(1e-6)
    ahead, data = z, x.new_zeros(x.shape)
    rows, columns = data[..., 1:, :].clone(), data[..., 1:].clone()
    for _ in range(STEPS):
        data = data + sigma * kept * (ahead - x)
        data = data / data.norm(dim=(2, 3), keepdim=True).clamp_min(1)
        rows = rows + sigma * ahead.diff(dim=2)
        rows = rows * (weight / rows.norm(dim=3, keepdim=True).clamp_min(weight))
        columns = columns + sigma * ahead.diff(dim=3)
        columns = columns * (weight / columns.norm(dim=2, keepdim=True).clamp_min(weight))
        slope = kept * data
        slope[..., 1:, :] += rows
        slope[..., :-1, :] -= rows
        slope[..., 1:] += columns
        slope[..., :-1] -= columns
        following = z - tau * slope
        z, ahead = following, 2 * following - z
    return z
