"""Attack with several momentum buffers at once (AggMo), the strongest published attack on random transforms.

Sources: Lucas et al., ICLR 2019 (aggregated momentum); Sitawarin, Golan-Strieb, Wagner, ICML 2022 (the attack).
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
class AggMo(GradientSteps):
    """Take `steps` steps of `step_size` along the mean of the buffers' steepest directions.

    buffers     their number B; they are damped by mu_j = 1 - 10^-j for j = 0..B-1: v_j <- mu_j v_j + gradient
    clamp       the largest magnitude of a gradient's entry that enters the buffers, in units of the gradient's mean magnitude
    """

    ball: Ball
    steps: int = 200
    step_size: float = 0.005
    random_start: bool = True
    eot: Eot = field(default_factory=lambda: Eot(10, "margin", "mean_logits", fixed_order=True))
    buffers: int = 6
    clamp: float = 10.0

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at a random point of the ball or at the image, with empty buffers: `velocity` (n, B, 3, h, w)."""
        x = self.first(clean, keys)
        return begin(clean, x, goal, keys, velocity=clean.new_zeros(len(clean), self.buffers, *clean.shape[1:]))

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Add the clamped gradient to the buffers and step along the mean of their steepest directions."""
        gradient, _ = ascent(state, defended, self.eot, stack)
        direction = finite(gradient)
        limit = self.clamp * direction.abs().mean((1, 2, 3), keepdim=True)
        direction = direction.clamp(-limit, limit)
        damping = 1 - 10.0 ** -torch.arange(self.buffers, device=direction.device, dtype=direction.dtype)
        velocity = state.memory["velocity"] * damping[:, None, None, None] + direction[:, None]
        steepest = self.ball.steepest(velocity.flatten(0, 1)).view_as(velocity).mean(1)
        x = self.ball.project(state.x + self.step_size * steepest, state.clean)
        return state.advanced(x, gradient, grads=self.eot.draws, memory={"velocity": velocity})

    def result(self, state: State) -> Tensor:
        """Return the last iterate."""
        return state.x
