"""SPSA: a gradient from values alone, by differences along random signs. Uesato et al., ICML 2018; Spall, IEEE TAC 1992."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Cost, finite
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.classifier import Defended
from bart.gradient import Goal, mean_loss


@dataclass(frozen=True)
class Spsa:
    """`steps` steps of `step_size` along the steepest ascent of Adam's direction.

    pairs       of points x + delta s and x - delta s, s random signs, that one gradient comes from; the margin at both is the
                mean over the same `draws` draws, so that their difference is the perturbation's and not the barrage's
    delta       how far the points are from the iterate
    """

    ball: Ball
    steps: int = 50
    step_size: float = 0.01
    pairs: int = 64
    draws: int = 1
    delta: float = 0.01

    @property
    def cost(self) -> Cost:
        return Cost(0, self.steps * 2 * self.pairs * self.draws)

    @property
    def classes(self) -> int:
        return 2

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        return begin(clean, clean.clone(), goal, keys, mean=torch.zeros_like(clean), square=torch.zeros_like(clean))

    def step(self, state: State, defended: Defended, stack: int) -> State:
        slope = self._slope(state, defended, stack)
        mean = 0.9 * state.memory["mean"] + 0.1 * finite(slope)
        square = 0.999 * state.memory["square"] + 0.001 * finite(slope).square()
        age = (state.age + 1)[:, None, None, None]
        direction = mean / (1 - 0.9**age) / ((square / (1 - 0.999**age)).sqrt() + 1e-8)
        x = self.ball.step(state.x, direction, self.step_size, state.clean)
        memory = {"mean": mean, "square": square}
        return state.advanced(x, slope, forwards=2 * self.pairs * self.draws, memory=memory)

    def _slope(self, state: State, defended: Defended, stack: int) -> Tensor:
        """The mean over pairs of (f(x + delta s) - f(x - delta s)) / (2 delta) s."""
        total = torch.zeros_like(state.x)
        step_keys = defended.keys(state.keys, "step", state.step)
        for pair, signs in self._signs(state):
            keys = step_keys.map(rng.fold, pair)
            above, below = (self._value(state, side * self.delta * signs, defended, keys, stack) for side in (1, -1))
            total += ((above - below) / (2 * self.delta))[:, None, None, None] * signs
        return total / self.pairs

    def _signs(self, state: State) -> Iterator[tuple[int, Tensor]]:
        seeds = rng.fold(rng.fold(state.keys.device, "signs"), state.step.device)
        for pair in range(self.pairs):
            yield pair, torch.where(rng.field(seeds, tuple(state.x.shape[1:]), pair) < 0.5, -1.0, 1.0)

    def _value(self, state: State, offset: Tensor, defended: Defended, keys: rng.Mirror, stack: int) -> Tensor:
        """The mean margin over the draws, (n,)."""
        return mean_loss(defended, (state.x + offset).clamp(0, 1), state.goal, keys, "margin", self.draws, stack)

    def result(self, state: State) -> Tensor:
        """The last iterate."""
        return state.x
