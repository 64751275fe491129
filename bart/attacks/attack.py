"""What every attack is: frozen settings, a start, a pure step, and the example that it hands in."""

from typing import NamedTuple, Protocol

from torch import Tensor

from bart import rng
from bart.attacks.state import State
from bart.ball import Ball
from bart.defenses.defended import Defended
from bart.gradient import Eot, Goal, gradient
from bart.losses import LOSSES


class Cost(NamedTuple):
    """Draws of one image from start to end: with a gradient, and without."""

    gradients: int
    forwards: int = 0


class Attack(Protocol):
    """An attack. Images of one state may be at different steps; none ever depends on another."""

    @property
    def ball(self) -> Ball:
        """Where the examples must lie."""

    @property
    def steps(self) -> int:
        """Calls of `step` until the budget is spent."""

    @property
    def cost(self) -> Cost:
        """Of all steps of one image."""

    @property
    def classes(self) -> int:
        """The fewest classes that a model must have."""

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """The state before the first step; clean (n, 3, h, w) in [0, 1], one key per image."""

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """One step of every image; `stack` draws fit the device at once. Pure: the same state gives the same next one."""

    def result(self, state: State) -> Tensor:
        """The example to be judged, (n, 3, h, w), at any step."""


class GradientSteps:
    """What attacks share that take one gradient a step."""

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
        """A random point of the ball, or the image itself."""
        return self.ball.start(clean, rng.fold(keys.device, "start")) if self.random_start else clean.clone()


def ascent(state: State, defended: Defended, eot: Eot, stack: int) -> tuple[Tensor, Tensor]:
    """Gradient and loss at the iterate, to be ascended, from draws that no other step has."""
    keys = defended.keys(state.keys, "step", state.step)
    return gradient(defended, state.x, state.goal, keys, eot, stack)


def finite(gradient: Tensor) -> Tensor:
    """A direction to go: pixels without a finite derivative stay where they are. The state counts them."""
    return gradient.nan_to_num(0, 0, 0)


def where(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` for the images `chosen` (n,), `b` for the others."""
    return a.where(chosen.view(-1, *[1] * (a.dim() - 1)), b)
