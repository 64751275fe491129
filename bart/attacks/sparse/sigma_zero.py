"""Attack in L0: descend a smooth count of the changed values, and put small changes back.

Source: Cina et al., ICLR 2025 (sigma-zero), algorithm 1; Adam: Kingma and Ba, ICLR 2015.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import GradientSteps, ascent, finite, where
from bart.attacks.state import State, begin
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Eot, Goal

SIGMA = 1e-3
"""A changed value counts d^2 / (d^2 + SIGMA), where d is its change."""

FIRST_THRESHOLD, THRESHOLD_STEP = 0.3, 0.01
"""Changes smaller than a threshold are put back. It begins at the first and moves by the second times the step size."""

FIRST_STEP, LAST_STEP = 1.0, 0.1
"""The step size falls from the first to the last along a cosine."""

MEAN, SQUARE = 0.9, 0.999
"""The decays of Adam's two moments."""


@dataclass(frozen=True)
class SigmaZero(GradientSteps):
    ball: Ball
    steps: int = 1000
    eot: Eot = field(default_factory=lambda: Eot(loss="hinge"))
    aim: str = "A"

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        number = clean.new_zeros(len(clean))
        return begin(
            clean,
            clean.clone(),
            goal,
            keys,
            mean=torch.zeros_like(clean),
            square=torch.zeros_like(clean),
            threshold=number + FIRST_THRESHOLD,
            best=clean.clone(),
            best_loss=number - torch.inf,
            best_size=number + torch.inf,
        )

    def step(self, state: State, defended: Defended, stack: int) -> State:
        raw, loss = ascent(state, defended, self.eot, stack)
        m, delta, age = dict(state.memory), state.x - state.clean, state.age
        size = (delta != 0).flatten(1).sum(1).to(delta.dtype)
        won = loss >= 0
        if self.aim == "A":
            better = won & (size < m["best_size"])
            m["best_size"] = torch.where(better, size, m["best_size"])
        else:
            better = (loss >= m["best_loss"]) & (size <= self.ball.eps)
            m["best_loss"] = torch.where(better, loss, m["best_loss"])
        m["best"] = where(better, state.x, m["best"])
        s = delta.square()
        descent = 2 * delta * SIGMA / (s + SIGMA).square() / delta[0].numel() - finite(raw)
        descent = descent / descent.abs().flatten(1).amax(1).clamp_min(1e-12)[:, None, None, None]
        m["mean"] = MEAN * m["mean"] + (1 - MEAN) * descent
        m["square"] = SQUARE * m["square"] + (1 - SQUARE) * descent.square()
        t = (age + 1)[:, None, None, None]
        adam = m["mean"] / (1 - MEAN**t) / ((m["square"] / (1 - SQUARE**t)).sqrt() + 1e-8)

        def eta(age):
            return LAST_STEP + (FIRST_STEP - LAST_STEP) * (1 + torch.cos(math.pi * age / self.steps)) / 2

        size_now = eta((age - 1).clamp_min(0))
        delta = (state.x - size_now[:, None, None, None] * adam).clamp(0, 1) - state.clean
        up = won if self.aim == "A" else size > self.ball.eps if self.aim == "B" else won | (size > self.ball.eps)
        if self.aim == "D":
            up = won & (size > self.ball.eps)
        m["threshold"] = (m["threshold"] + THRESHOLD_STEP * eta(age) * torch.where(up, 1, -1)).clamp(0, 1)
        kept = delta.abs() >= m["threshold"][:, None, None, None]
        x = torch.where(kept, state.clean + delta, state.clean)
        return state.advanced(x, raw, grads=self.eot.draws, memory=m)

    def result(self, state: State) -> Tensor:
        return self.ball.project(state.memory["best"], state.clean)
