"""Attack by projected gradient descent on the expected loss over draws.

Sources: Madry et al., ICLR 2018; momentum: Dong et al., CVPR 2018.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import GradientSteps, ascent, finite
from bart.attacks.state import State, begin
from bart.ball import Ball, levelled
from bart.defenses import Defended
from bart.gradient import Eot, Goal


@dataclass(frozen=True)
class Pgd(GradientSteps):
    """Take `steps` steps of `step_size` (in the unit of `ball.eps`) from a random start or from the image itself.

    momentum    mu of the sum g <- mu g + gradient / |gradient|_1 that the steps follow; 0 follows each gradient alone
    """

    ball: Ball
    steps: int = 40
    step_size: float = 2 / 255
    random_start: bool = True
    eot: Eot = field(default_factory=Eot)
    momentum: float = 0.0

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at a random point of the ball or at the image itself."""
        x = self.first(clean, keys)
        memory = {"momentum": torch.zeros_like(clean)} if self.momentum else {}
        return begin(clean, x, goal, keys, **memory)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Step along the gradient, or along its momentum, and project."""
        gradient, _ = ascent(state, defended, self.eot, stack)
        direction, memory = finite(gradient), {}
        if self.momentum:
            direction = levelled(direction)  # however short it is
            length = direction.abs().flatten(1).sum(1).clamp_min(1e-12)[:, None, None, None]
            direction = memory["momentum"] = self.momentum * state.memory["momentum"] + direction / length
        x = self.ball.step(state.x, direction, self.step_size, state.clean)
        return state.advanced(x, gradient, grads=self.eot.draws, memory=memory)

    def result(self, state: State) -> Tensor:
        """Return the last iterate."""
        return state.x


def fgsm(ball: Ball, eot: Eot, random_start: bool = False) -> Pgd:
    """Return the fast gradient sign method: one step to the border of the ball. Source: Goodfellow et al., ICLR 2015."""
    return Pgd(ball, 1, ball.eps, random_start, eot)
