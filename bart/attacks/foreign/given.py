"""Take examples that were made elsewhere: an attack without steps."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Cost
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal

DISTANCE = "given_distance"
"""Name in a state's memory: how far each example was from its image as it was given, in 8 bits, (n,); -1 if none was given."""


def taken(state: State, examples: Tensor, ball: Ball) -> State:
    """Return the state at examples of others, (n, 3, h, w) in [0, 1], moved to the nearest point of the ball.

    `DISTANCE` keeps how far they were, rounded to 8 bits, in the unit of `ball.eps`.
    """
    x = examples.to(state.clean)
    levels = torch.round(255 * x).clamp(0, 255).to(torch.uint8)
    memory = state.memory | {DISTANCE: ball.distance(levels, state.clean)}
    return replace(state, x=ball.project(x, state.clean).contiguous(), memory=memory)


@dataclass(frozen=True)
class Given:
    """Judge examples of others. `start` begins at the image itself; `taken` moves to the examples."""

    ball: Ball
    steps: int = 0

    @property
    def cost(self) -> Cost:
        return Cost(0)

    @property
    def classes(self) -> int:
        return 1

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Return the state at the images themselves."""
        return begin(clean, clean.clone(), goal, keys, **{DISTANCE: clean.new_full((len(clean),), -1.0)})

    def taken(self, state: State, examples: Tensor) -> State:
        """Return the state at the examples, (n, 3, h, w) in [0, 1], one for each image of the state."""
        return taken(state, examples, self.ball)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Return the state unchanged: there is nothing to do."""
        return state

    def result(self, state: State) -> Tensor:
        """Return the examples."""
        return state.x
