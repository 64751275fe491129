"""Attack by random noise: a control without knowledge of the model's inside.

If it beats the white-box attack, that attack is weak.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import Cost, where
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal, score


@dataclass(frozen=True)
class Noise:
    """Try `steps` uniformly random points of the ball.

    The example is the point with the highest mean probability of success over `draws` draws.
    """

    ball: Ball
    steps: int = 20
    draws: int = 10

    @property
    def cost(self) -> Cost:
        return Cost(0, self.steps * self.draws)

    @property
    def classes(self) -> int:
        return 2

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at the image, with a score below every possible one."""
        return begin(clean, clean.clone(), goal, keys, score=clean.new_full((len(clean),), -1.0))

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Score a random point of the ball and keep it if it is better."""
        seeds = rng.fold(rng.fold(state.keys.device, "point"), state.step.device)
        point = self.ball.start(state.clean, seeds)
        new_score = score(defended, point, state.goal, defended.keys(state.keys, "step", state.step), self.draws, stack)
        better = new_score > state.memory["score"]
        memory = {"score": torch.where(better, new_score, state.memory["score"])}
        return state.advanced(where(better, point, state.x), forwards=self.draws, memory=memory)

    def result(self, state: State) -> Tensor:
        """Return the best point so far."""
        return state.x
