"""Attack by dual averaging: the iterate is the ball's answer to the sum of all gradients, so it is never stepped.

Source of dual averaging: Nesterov, Mathematical Programming 2009. What unit gradients and a hardening ball add is measured by
`benchmarks.strength`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import GradientSteps, ascent, finite
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Eot, Goal


@dataclass(frozen=True)
class DualAveraging(GradientSteps):
    """Take `steps` gradients and sum them; after step s of N the iterate is `ball.towards` the sum, with softness 1 - s/N.

    In L-inf this is clean + eps clip(S / ((1 - s/N) mean|S|), -1, 1): pixels on which the draws agree reach the border first,
    and the last iterate is the corner sign(S). No step size, no momentum, no choice among iterates.
    """

    ball: Ball
    steps: int = 40
    random_start: bool = True
    eot: Eot = field(default_factory=lambda: Eot(5, "log_odds", unit=True))

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at a random point of the ball or at the image, with an empty sum: `total` (n, 3, h, w)."""
        return begin(clean, self.first(clean, keys), goal, keys, total=torch.zeros_like(clean))

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Add the gradient at the iterate to the sum, and go where the sum points."""
        gradient, _ = ascent(state, defended, self.eot, stack)
        total = state.memory["total"] + finite(gradient)
        softness = 1 - (state.age + 1) / self.steps
        x = self.ball.towards(total, state.clean, softness)
        return state.advanced(x, gradient, grads=self.eot.draws, memory={"total": total})

    def result(self, state: State) -> Tensor:
        """Return the farthest point along the sum."""
        return self.ball.towards(state.memory["total"], state.clean)
