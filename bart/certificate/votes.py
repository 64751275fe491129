"""Count the votes of many draws on an image, step by step, as an attack that leaves the image as it is.

So a checkpoint is the attack's, and a hundred thousand draws an image resume exactly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bart import draw_keys, rng
from bart.attacks.attack import Cost
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal, forward_draws

PER_STEP = 100
"""Draws of one step, at most."""

CLASS, VOTES = "smoothed_class", "smoothed_votes"
"""Names in a state's memory: the class that most of the `first` draws say, (n,), -1 before; how many of the others say it."""


@dataclass(frozen=True)
class Certify:
    """Choose a class by the votes of `first` draws, then count the votes for it of `draws` others: n0 and n of the article.

    None of these draws judges, and no two of an image are the same; the classifier runs in its own precision.
    """

    ball: Ball
    first: int = 100
    draws: int = 100_000

    @property
    def steps(self) -> int:
        return 1 + -(-self.draws // PER_STEP)

    @property
    def cost(self) -> Cost:
        return Cost(0, self.first + self.draws)

    @property
    def classes(self) -> int:
        return 2

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Return the state at the images, without a vote."""
        none = torch.zeros_like(goal.label)
        return begin(clean, clean.clone(), goal, keys, **{CLASS: none - 1, VOTES: none})

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Return the state after one step: the first chooses the class, each other counts votes for it."""
        groups: dict[int, list[int]] = {}
        for row, step in enumerate(state.step.host.tolist()):
            groups.setdefault(0 if step == 0 else min(PER_STEP, self.draws - (step - 1) * PER_STEP), []).append(row)
        for draws, rows in groups.items():
            part = state.rows(rows)
            said = _said(part, defended, draws or self.first, stack)
            if draws == 0:
                votes = {CLASS: torch.stack([torch.bincount(row).argmax() for row in said])}
            else:
                votes = {VOTES: part.memory[VOTES] + (said == part.memory[CLASS][:, None]).sum(1)}
            state = state.put(rows, part.advanced(part.x, forwards=draws or self.first, memory=votes))
        return state

    def result(self, state: State) -> Tensor:
        """Return the images themselves."""
        return state.x


@torch.no_grad()
def _said(state: State, defended: Defended, draws: int, stack: int) -> Tensor:
    """Return the class that each of `draws` fresh draws of this step says, (n, draws)."""
    keys = draw_keys.to_attack(defended.keys(state.keys, "certificate", state.step), draws)
    said = torch.empty(len(state), draws, dtype=torch.int64, device=state.x.device)
    for images, draw_range, logits in forward_draws(defended, state.x, keys, draws, stack, fast=False):
        said[images, draw_range] = logits.argmax(2)
    return said
