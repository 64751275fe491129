"""Define the ball around an image: where an attack starts, how it steps, and which image is stored."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bart.ball.norm import Norm, broadcast
from bart.ball.table import NORMS

HALVINGS = 20
"""Steps of the bisection in `Ball.store`."""


@dataclass(frozen=True)
class Ball:
    """Describe the images within `eps` of a clean one, in a norm of `NORMS`, and in [0, 1].

    Images are (n, 3, h, w) float32 in [0, 1], `eps` and steps in the same unit (8 / 255, not 8): in L1 the sum over all values,
    in L0 the number of values that may change, of which a pixel has three.
    Raises ValueError for an unknown norm, a radius that is not positive, or one in L0 that is no whole number.
    """

    norm: str
    eps: float

    def __post_init__(self) -> None:
        if self.norm not in NORMS or not self.eps > 0:
            raise ValueError(f"ball {self.norm!r}, {self.eps}: expected a norm of {', '.join(NORMS)} and a positive radius")
        if self.norm == "l0" and self.eps != int(self.eps):
            raise ValueError(f"ball 'l0', {self.eps}: expected a whole number, of the values that may change")

    def start(self, clean: Tensor, seeds: Tensor) -> Tensor:
        """Return a uniformly random point of the ball around `clean`, from one seed per image, clipped to [0, 1]."""
        return self._norm.random(clean, seeds, self.eps).clamp(0, 1)

    def project(self, x: Tensor, clean: Tensor) -> Tensor:
        """Return the nearest point of the ball and of [0, 1]; in L2 the nearest of the ball, clipped to [0, 1]."""
        return self._norm.project(x, clean, self.eps)

    def steepest(self, direction: Tensor) -> Tensor:
        """Return the step of length 1 that ascends most along `direction`.

        It is its sign for L-inf, its unit vector for L2, the value with the largest derivative for L1. Raises ValueError for
        L0, in which no step has a length.
        """
        if self._norm.steepest is None:
            raise ValueError(f"norm {self.norm!r}: steps have no length in it, and this attack needs one; use SigmaZero")
        return self._norm.steepest(direction)

    def step(self, x: Tensor, direction: Tensor, size: float, clean: Tensor) -> Tensor:
        """Return `x` after a step of length `size` along the steepest ascent, projected."""
        return self.project(x + size * self.steepest(direction), clean)

    def towards(self, total: Tensor, clean: Tensor, softness: Tensor | float = 0.0) -> Tensor:
        """Return the point of the ball that a sum of gradients `total` (n, 3, h, w) asks for, clipped to [0, 1].

        softness 0, a number or (n,): the farthest point along `total`, a corner of the L-inf ball. More, in L-inf only: pixels
        whose sum is smaller than `softness` times the mean magnitude move in proportion to it.
        """
        softness = torch.as_tensor(softness, dtype=total.dtype, device=total.device).expand(len(total))
        return self._norm.towards(clean, total, self.eps, softness)

    def store(self, x: Tensor, clean: Tensor) -> Tensor:
        """Return `x` as it will be stored: 8 bits, and still inside the ball. (n, 3, h, w) uint8.

        Pixels are rounded to the nearest level. If rounding puts an image outside the ball, the image is first moved towards
        the clean one, as little as necessary. `clean` must hold 8-bit values.
        """
        levels = torch.round(255 * clean)
        delta, most = 255 * x - levels, self._norm.unit * self.eps + 1e-3
        inside, outside = (
            torch.zeros(len(x), device=x.device, dtype=torch.float32),
            torch.full((len(x),), 2.0, device=x.device, dtype=torch.float32),
        )
        for _ in range(HALVINGS):  # bisect for the largest share of delta inside after rounding; the first trial is 1
            share = (inside + outside) / 2
            fits = self._norm.size(torch.round(delta * broadcast(share))) <= most
            inside, outside = torch.where(fits, share, inside).clamp_max(1), torch.where(fits, outside.clamp_max(1), share)
        return (levels + torch.round(delta * broadcast(inside))).clamp(0, 255).to(torch.uint8)

    def distance(self, stored: Tensor, clean: Tensor, norm: str | None = None) -> Tensor:
        """Return the distance of stored uint8 images from `clean`, (n,) float32, in the unit of `eps` (default: the norm of
        the ball).
        """
        chosen = NORMS[norm or self.norm]
        return chosen.size(stored.float() - torch.round(255 * clean)) / chosen.unit

    @property
    def _norm(self) -> Norm:
        return NORMS[self.norm]
