"""Projected gradient descent (Madry et al., ICLR 2018) on the expected loss over draws."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bart import rng
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.classifier import Defended
from bart.gradient import Eot, gradient


@dataclass(frozen=True)
class Pgd:
    """`steps` steps of `step_size` (in the unit of `ball.eps`) from a random start or from the image itself."""

    ball: Ball
    steps: int = 40
    step_size: float = 2 / 255
    random_start: bool = True
    eot: Eot = field(default_factory=Eot)

    def start(self, clean: Tensor, label: Tensor, target: Tensor, keys: rng.Mirror) -> State:
        """The state before the first step; clean (n, 3, h, w) in [0, 1], the rest (n,)."""
        return begin(clean, label, target, keys, self.ball.start if self.random_start else lambda x, seeds: x.clone())

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """One step of every image. Pure: the same state gives the same next one."""
        targeted = state.target >= 0
        goal = torch.where(targeted, state.target, state.label)
        keys = state.keys.map(rng.fold, "step").map(rng.fold, state.step)
        ascent, _ = gradient(defended, state.x, goal, keys, self.eot, stack)
        direction = torch.where(targeted[:, None, None, None], -ascent, ascent).nan_to_num(0, 0, 0)
        return state.advanced(self.ball.step(state.x, direction, self.step_size, state.clean), ascent)
