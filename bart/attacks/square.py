"""Attack by random search over squares, from values alone (Square attack).

Source: Andriushchenko, Croce, Flammarion and Hein, ECCV 2020.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Cost, where
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal, mean_loss
from bart.types import Size

HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The steps of 10,000 after which p has halved, from the authors' program. (The article leaves out 500.)"""

BUMPS = 5
"""Bumps along a side of the L2 start."""

LEAST_SIDE = {"linf": 1, "l2": 3}
"""The smallest side of a square, in pixels, by norm."""
_TINY = 1e-12


@dataclass(frozen=True)
class Square:
    """Propose `steps` changes of the perturbation, each within a random square; keep a proposal if it is better.

    The example and the proposal are compared by their mean margin over the same `draws` draws, which are new at each step. A
    value kept from an earlier step could be high by chance, and would never be beaten again.

    p           the share of the image that the first squares cover, in (0, 1]; it halves by the article's schedule, rescaled
                to `steps`. 0.8 is the choice for robust models; for others the article has 0.05 (L-inf) and 0.1 (L2)
    Raises ValueError for a p outside its range.
    """

    ball: Ball
    steps: int = 1000
    draws: int = 10
    p: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"p = {self.p}: expected more than 0 and at most 1")

    @property
    def cost(self) -> Cost:
        return Cost(0, self.steps * 2 * self.draws)

    @property
    def classes(self) -> int:
        return 2

    def sides(self, size: Size) -> tuple[int, ...]:
        """Return the side of the squares before p halves for the first time, and after each time, in pixels.

        It is that of p h w pixels, for L2 odd and at least 3, and never longer than the image's shorter side.
        """
        sides = []
        for halvings in range(len(HALVED) + 1):
            side = max(round(math.sqrt(self.p * math.prod(size) / 2**halvings)), LEAST_SIDE[self.ball.norm])
            if self.ball.norm == "l2" and side % 2 == 0:
                side += 1
            sides.append(min(side, *size))
        return tuple(sides)

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start from vertical stripes of +-eps by column and channel (L-inf), or from a grid of bumps (L2).

        The bumps have random signs, and their length is eps.
        """
        seeds = rng.fold(keys.device, "start")
        x = _stripes(clean, seeds, self.ball.eps) if self.ball.norm == "linf" else _grid(clean, seeds, self.ball.eps)
        return begin(clean, x, goal, keys)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Compare one proposal with the example and keep the better."""
        proposal = self._proposal(state)
        keys = defended.keys(state.keys, "step", state.step)
        before, after = (
            mean_loss(defended, x, state.goal, keys, "margin", self.draws, stack).nan_to_num(-torch.inf)
            for x in (state.x, proposal)
        )
        return state.advanced(where(after > before, proposal, state.x), forwards=2 * self.draws)

    def _proposal(self, state: State) -> Tensor:
        """Return the example of each image with one square changed, (n, 3, h, w), by random numbers of this step."""
        seeds = rng.fold(rng.fold(state.keys.device, "square"), state.step.device)
        propose = _flat_square if self.ball.norm == "linf" else _moved_square
        x = propose(state.x, state.clean, self._side(state), seeds, self.ball.eps)
        return x.contiguous()  # sums depend on the memory layout, and a resumed state is contiguous

    def _side(self, state: State) -> Tensor:
        """Return the side of the square, (n,) int64, in pixels."""
        first, *others = self.sides((state.x.shape[-2], state.x.shape[-1]))
        age = state.age * 10_000 // self.steps
        side = torch.full_like(age, first)
        for halved, smaller in zip(HALVED, others, strict=True):
            side = torch.where(age > halved, smaller, side)
        return side

    def result(self, state: State) -> Tensor:
        """Return the example so far."""
        return state.x


def _signs(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return random signs, +1 or -1, (n, *shape)."""
    return torch.where(rng.coin(seeds, "signs", shape), 1.0, -1.0).float()


def _norm(x: Tensor, first: int) -> Tensor:
    """Return the Euclidean norm over the dimensions from `first` on. They stay with length 1, so that one can divide by it."""
    return x.square().sum(tuple(range(first, x.dim())), keepdim=True).sqrt()


def _unit(x: Tensor, first: int) -> Tensor:
    """Return `x` divided by its norm; zeros stay zeros."""
    return x / _norm(x, first).clamp_min(_TINY)


def _corner(name: str, side: Tensor, seeds: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Return a random place for a square of each image: its first row and its first column, (n,) each."""
    room = torch.stack([length - side for length in size], dim=1)
    row, column = rng.integers(seeds, name, 0, room, (2,)).unbind(1)
    return row, column


def _inside(corner: tuple[Tensor, Tensor], size: Size) -> tuple[Tensor, Tensor]:
    """Return the row and the column of each pixel as counted from the corner, (n, h, 1) and (n, 1, w)."""
    row, column = (torch.arange(length, device=at.device) - at[:, None] for length, at in zip(size, corner, strict=True))
    return row[:, :, None], column[:, None, :]


def _window(corner: tuple[Tensor, Tensor], side: Tensor, size: Size) -> Tensor:
    """Return which pixels are in the square, (n, 1, h, w) bool."""
    row, column = _inside(corner, size)
    side = side[:, None, None]
    return ((row >= 0) & (row < side) & (column >= 0) & (column < side))[:, None]


def _stripes(clean: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Return the images with vertical stripes of +-eps."""
    return (clean + eps * _signs(seeds, (3, 1, clean.shape[-1]))).clamp(0, 1)


def _flat_square(x: Tensor, clean: Tensor, side: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Set each channel of the perturbation to +eps or -eps within the square. Algorithm 2 of the article."""
    size = (x.shape[-2], x.shape[-1])
    window = _window(_corner("corner", side, seeds, size), side, size)
    return torch.where(window, (clean + eps * _signs(seeds, (3, 1, 1))).clamp(0, 1), x)


def _bump(corner: tuple[Tensor, Tensor], side: Tensor, turned: Tensor, size: Size) -> Tensor:
    """Return two hills of opposite signs that fill the square, (n, h, w), of length 1, zero outside it.

    They stand on top of each other, or side by side if `turned` (n,) bool. Section 4.2 of the article: at a distance m from
    its middle, in the maximum norm, a hill has the height 1 / (m + 1)^2 + ... + 1 / k^2, k = side // 2 + 1; then it is scaled
    to the other's length.
    """
    window = _window(corner, side, size)[:, 0]
    row, column = torch.broadcast_tensors(*_inside(corner, size))
    turned, side = turned[:, None, None], side[:, None, None]
    row, column = torch.where(turned, column, row), torch.where(turned, row, column)
    half, last = side // 2, side // 2 + 1
    upper = row < half
    middle = torch.where(upper, half // 2, half + (side - half) // 2)
    distance = torch.maximum((row - middle).abs(), (column - half).abs()).minimum(last)
    terms = torch.arange(1, max(size) // 2 + 2, device=side.device).double() ** -2
    sums = torch.cat([terms.new_zeros(1), terms.cumsum(0)])
    height = (sums[last] - sums[distance]).float() * window
    return _unit(_unit(height * upper, 1) - _unit(height * ~upper, 1), 1)


def _grid(clean: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Return the images with 5 x 5 bumps, each turned by a coin, with a random sign per channel.

    Small or oblong images hold fewer.
    """
    size = clean.shape[2:]
    side = max(min(size) // BUMPS, 1)
    across = [length // side for length in size]
    corner = torch.zeros(2, dtype=torch.int64, device=clean.device)
    turned = torch.arange(2, device=clean.device) > 0
    one, other = _bump((corner, corner), corner + side, turned, (side, side)).repeat(1, *across)

    def spread(values: Tensor) -> Tensor:
        return values.repeat_interleave(side, -2).repeat_interleave(side, -1)

    bumps = torch.where(spread(rng.coin(seeds, "turned", (1, *across))), one, other) * spread(_signs(seeds, (3, *across)))
    delta = torch.zeros_like(clean)
    top, left = ((length - side * count) // 2 for length, count in zip(size, across, strict=True))
    delta[:, :, top : top + bumps.shape[2], left : left + bumps.shape[3]] = bumps
    return (clean + eps * _unit(delta, 1)).clamp(0, 1)


def _moved_square(x: Tensor, clean: Tensor, side: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Give the first square a bump on top of its values, and the share of eps of a second square.

    Algorithm 3 of the article.
    """
    size, delta = (x.shape[-2], x.shape[-1]), x - clean
    corner = _corner("corner", side, seeds, size)
    first, second = _window(corner, side, size), _window(_corner("other_corner", side, seeds, size), side, size)
    bump = _bump(corner, side, rng.coin(seeds, "turned"), size)[:, None] * _signs(seeds, (3, 1, 1))
    unused = (eps**2 - _norm(delta, 1).square()).clamp_min(0)
    available = (_norm(delta * (first | second), 2).square() + unused / 3).sqrt()
    fresh = available * _unit(bump + _unit(delta * first, 2), 2)
    delta = torch.where(first, fresh, delta * ~second)
    return (clean + eps * _unit(delta, 1)).clamp(0, 1)
