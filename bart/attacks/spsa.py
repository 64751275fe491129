"""Attack with gradients estimated from values alone, by differences along random signs (SPSA).

Sources: Uesato et al., ICML 2018; Spall, IEEE Transactions on Automatic Control 1992.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Cost, finite
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal, mean_loss


@dataclass(frozen=True)
class Spsa:
    """Take `steps` steps of `step_size` along the steepest ascent of Adam's direction.

    pairs       pairs of points x + delta s and x - delta s, with random signs s, for one gradient
    draws       draws for the mean margin at each point; the same for both points of a pair, so that their difference comes
                from the perturbation and not from the barrage
    delta       distance of the points from the iterate, per pixel
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
        """Start at the image, with Adam's two moments at zero."""
        return begin(clean, clean.clone(), goal, keys, mean=torch.zeros_like(clean), square=torch.zeros_like(clean))

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Estimate the gradient, update Adam's moments, and step along their direction."""
        slope = self._slope(state, defended, stack)
        mean = 0.9 * state.memory["mean"] + 0.1 * finite(slope)
        square = 0.999 * state.memory["square"] + 0.001 * finite(slope).square()
        age = (state.age + 1)[:, None, None, None].float()
        direction = mean / (1 - 0.9**age) / ((square / (1 - 0.999**age)).sqrt() + 1e-8)
        x = self.ball.step(state.x, direction, self.step_size, state.clean)
        memory = {"mean": mean, "square": square}
        return state.advanced(x, slope, forwards=2 * self.pairs * self.draws, memory=memory)

    def _slope(self, state: State, defended: Defended, stack: int) -> Tensor:
        """Return the mean over pairs of (f(x + delta s) - f(x - delta s)) / (2 delta) s.

        Takes as many pairs at once as the stack holds.
        """
        total, n = torch.zeros_like(state.x), len(state)
        step_keys = defended.keys(state.keys, "step", state.step)
        seeds = rng.fold(rng.fold(state.keys.device, "signs"), state.step.device)
        together = max(1, stack // (2 * n * self.draws))
        for first in range(0, self.pairs, together):
            pairs = range(first, min(first + together, self.pairs))
            signs = torch.stack([self._signs(state, seeds, pair) for pair in pairs])
            above, below = self._values(state, signs, defended, _pair_keys(step_keys, pairs), stack)
            for slope, sign in zip(
                (above - below) / (2 * self.delta), signs, strict=True
            ):  # one by one: the same sum for any stack
                total += slope[:, None, None, None] * sign
        return total / self.pairs

    def _signs(self, state: State, seeds: Tensor, pair: int) -> Tensor:
        """Return the random signs of one pair, +1 or -1, of the shape of the images."""
        return torch.where(rng.field(seeds, tuple(state.x.shape[1:]), pair) < 0.5, -1.0, 1.0).float()

    def _values(self, state: State, signs: Tensor, defended: Defended, keys: rng.Mirror, stack: int) -> Tensor:
        """Return the mean margin over the draws above and below, (2, pairs, n); signs (pairs, n, 3, h, w)."""
        points = torch.stack([state.x + self.delta * signs, state.x - self.delta * signs]).clamp_(0, 1)
        copies = 2 * len(signs)
        goal = Goal(state.label.repeat(copies), state.target.repeat(copies))
        values = mean_loss(defended, points.flatten(0, 2), goal, keys, "margin", self.draws, stack)
        return values.view(2, len(signs), -1)

    def result(self, state: State) -> Tensor:
        """Return the last iterate."""
        return state.x


def _pair_keys(keys: rng.Mirror, pairs: range) -> rng.Mirror:
    """Return keys of (side, pair, image), the same on both sides, from one key an image."""

    def spread(side: Tensor) -> Tensor:
        places = torch.arange(pairs.start, pairs.stop, device=side.device)
        return rng.fold(side[None], places[:, None]).flatten().repeat(2)

    return keys.map(spread)
