"""Attack in L0: find the fewest values to change, by a smooth count of them and a threshold under which changes are put back.

Sources: Cina et al., ICLR 2025 (sigma-zero), algorithm 1; Adam: Kingma and Ba, ICLR 2015.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import GradientSteps, ascent, finite, where
from bart.attacks.state import State, begin
from bart.ball import NORMS, Ball
from bart.defenses import Defended
from bart.gradient import Eot, Goal

SIGMA = 1e-3
"""A change d counts d^2 / (d^2 + SIGMA)."""

FIRST_THRESHOLD, THRESHOLD_STEP = 0.3, 0.01
"""The first threshold, and how far it moves, in units of the step size."""

LONGEST, SHORTEST = 1.0, 0.1
"""The step size falls from the one to the other along a cosine."""

MEAN, SQUARE = 0.9, 0.999
"""The decays of Adam's two moments."""

_TINY = 1e-12


@dataclass(frozen=True)
class SigmaZero(GradientSteps):
    """Take `steps` gradients of the hinge of the margin and of the count of changes, from the photograph.

    The threshold rises after an iterate that is wrong in all draws of its step, so the next has fewer changes, and falls
    after one that is not. The example is the iterate with the fewest changes that was wrong in all draws; if it has more than
    the ball allows, those of its changes that move a value farthest. Iterates have 8 bits: what was wrong is what is stored.

    Raises ValueError for a ball of another norm, or another loss than `hinge`, which is 0 where a draw is wrong.
    """

    ball: Ball
    steps: int = 200
    eot: Eot = field(default_factory=lambda: Eot(loss="hinge"))

    def __post_init__(self) -> None:
        if self.ball.norm != "l0" or self.eot.loss != "hinge":
            raise ValueError(f"norm {self.ball.norm!r}, loss {self.eot.loss!r}: SigmaZero attacks in l0, by the loss hinge")

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at the photograph. Memory, per image:

        mean, square   Adam's moments
        threshold   the least change that stays
        best        the iterate with the fewest changes that was wrong, `fewest`; until there is one, the last iterate
        """
        number = clean.new_zeros(len(clean))
        return begin(
            clean,
            clean.clone(),
            goal,
            keys,
            mean=torch.zeros_like(clean),
            square=torch.zeros_like(clean),
            threshold=number + FIRST_THRESHOLD,
            best=clean.clone(),
            fewest=number + torch.inf,
        )

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Evaluate the iterate, keep it if it is better, step by Adam, and put small changes back."""
        raw, loss = ascent(state, defended, self.eot, stack)
        m, delta = dict(state.memory), state.x - state.clean
        changes, wrong = NORMS["l0"].size(delta), loss >= 0
        fewer = wrong & (changes < m["fewest"])
        m["best"] = where(fewer | m["fewest"].isinf(), state.x, m["best"])
        m["fewest"] = torch.where(fewer, changes, m["fewest"])

        x = (state.x - self._length(state.age - 1) * _adam(m, _descent(delta, finite(raw)), state.age + 1)).clamp(0, 1)
        length = self._length(state.age)[:, 0, 0, 0]
        m["threshold"] = (m["threshold"] + THRESHOLD_STEP * length * torch.where(wrong, 1, -1)).clamp(0, 1)
        small = (x - state.clean).abs() < m["threshold"][:, None, None, None]
        x = torch.where(small, state.clean, torch.round(255 * x) / 255)
        return state.advanced(x, raw, grads=self.eot.draws, memory=m, settled=wrong)

    def result(self, state: State) -> Tensor:
        """Return the best iterate, with as many of its changes as the ball allows."""
        return self.ball.project(state.memory["best"], state.clean)

    def _length(self, age: Tensor) -> Tensor:
        """Return the step size after `age` steps, (n, 1, 1, 1); that of the first two steps is the same."""
        share = (1 + torch.cos(math.pi * age.clamp_min(0).float() / self.steps)) / 2
        return (SHORTEST + (LONGEST - SHORTEST) * share)[:, None, None, None]


def _descent(delta: Tensor, ascent: Tensor) -> Tensor:
    """Return the gradient of the share of changed values minus the loss, divided by its largest entry."""
    count = 2 * SIGMA * delta / (delta.square() + SIGMA).square() / delta[0].numel()
    descent = count - ascent
    return descent / descent.abs().amax((1, 2, 3), keepdim=True).clamp_min(_TINY)


def _adam(m: dict[str, Tensor], descent: Tensor, steps: Tensor) -> Tensor:
    """Return Adam's direction after `steps` (n,) gradients, and update its moments in `m`."""
    steps = steps[:, None, None, None].float()
    m["mean"] = MEAN * m["mean"] + (1 - MEAN) * descent
    m["square"] = SQUARE * m["square"] + (1 - SQUARE) * descent.square()
    return m["mean"] / (1 - MEAN**steps) / ((m["square"] / (1 - SQUARE**steps)).sqrt() + 1e-8)
