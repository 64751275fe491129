"""Define what every attack is: frozen settings, a start, a pure step, and the example to be judged."""

from typing import NamedTuple, Protocol

from torch import Tensor

from bart import rng
from bart.attacks.state import State
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Eot, Goal, gradient
from bart.losses import LOSSES


class Cost(NamedTuple):
    """Count the draws of one image from start to end: with a gradient, and without."""

    gradients: int
    forwards: int = 0


class Attack(Protocol):
    """Describe an attack. Images of one state may be at different steps; none depends on another."""

    @property
    def ball(self) -> Ball:
        """Return the ball in which the examples must be."""

    @property
    def steps(self) -> int:
        """Return the number of calls of `step` that spend the budget."""

    @property
    def cost(self) -> Cost:
        """Return the cost of all steps of one image."""

    @property
    def classes(self) -> int:
        """Return the fewest classes that a model must have."""

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Return the state before the first step; clean (n, 3, h, w) in [0, 1], one key per image."""

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Return the state after one step of every image; `stack` draws fit the device at once.

        Pure: the same state gives the same next state.
        """

    def result(self, state: State) -> Tensor:
        """Return the example to be judged, (n, 3, h, w), at any step."""


class GradientSteps:
    """Share what all attacks have in common that take one gradient a step."""

    ball: Ball
    steps: int
    random_start: bool
    eot: Eot

    @property
    def cost(self) -> Cost:
        return Cost(self.steps * self.eot.draws)

    @property
    def classes(self) -> int:
        return LOSSES[self.eot.loss].classes

    def first(self, clean: Tensor, keys: rng.Mirror) -> Tensor:
        """Return a random point of the ball, or the image itself."""
        return self.ball.start(clean, rng.fold(keys.device, "start")) if self.random_start else clean.clone()


def ascent(state: State, defended: Defended, eot: Eot, stack: int) -> tuple[Tensor, Tensor]:
    """Return the gradient and the loss at the iterate, to be ascended, from draws of this step alone."""
    keys = defended.keys(state.keys, "step", state.step)
    return gradient(defended, state.x, state.goal, keys, eot, stack)


def finite(gradient: Tensor) -> Tensor:
    """Return a direction with 0 for entries that are not finite: these pixels do not move. The state counts such gradients."""
    return gradient.nan_to_num(0, 0, 0)


def where(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return `a` for the images `chosen` (n,) bool, `b` for the others."""
    return a.where(chosen.view(-1, *[1] * (a.dim() - 1)), b)
