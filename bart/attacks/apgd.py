"""Attack by Auto-PGD, whose steps halve when they stop helping, with EOT. Source: Croce and Hein, ICML 2020, algorithm 1."""

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

MOMENTUM, SHARE = 0.75, 0.75
"""The article's alpha and rho."""


@dataclass(frozen=True)
class Apgd(GradientSteps):
    """Take `steps` gradients. The example is the iterate with the highest loss: with draws, the highest of noisy estimates."""

    ball: Ball
    steps: int = 100
    random_start: bool = True
    eot: Eot = field(default_factory=Eot)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Return the steps w_1, w_2, ... at which the step size may halve: after .22, .19, .16, ... of the budget.

        The intervals become shorter by .03 of the budget, down to .06.
        """
        last, share = 0.0, 0.22
        checkpoints = []
        while share <= 1:
            checkpoints.append(math.ceil(share * self.steps - 1e-9))  # .57 of 100 is 57
            last, share = share, share + max(share - last - 0.03, 0.06)
        return tuple(dict.fromkeys(checkpoints))

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at a random point of the ball or at the image. Memory, per image:

        previous    the iterate before
        best, best_gradient, best_loss   the iterate with the highest loss
        last_loss   the loss of the last step; `rises` counts the steps that raised it since the last checkpoint
        size        the step size
        checkpoint, checkpoint_loss, halved   the last checkpoint, its best loss, and whether the size was halved there
        """
        x = self.first(clean, keys)
        number = clean.new_zeros(len(clean))
        return begin(
            clean,
            x,
            goal,
            keys,
            previous=x.clone(),
            best=x.clone(),
            best_gradient=torch.zeros_like(x),
            best_loss=number - torch.inf,
            last_loss=number + torch.inf,
            size=number + 2 * self.ball.eps,
            rises=number.clone(),
            checkpoint=number.clone(),
            checkpoint_loss=number - torch.inf,
            halved=number + 1,
        )

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Evaluate the iterate, halve the step size if due, and step with momentum."""
        raw, loss = ascent(state, defended, self.eot, stack)
        gradient, x, m, step = finite(raw), state.x, dict(state.memory), state.age
        loss = loss.nan_to_num(-torch.inf)

        m["rises"] = m["rises"] + (loss > m["last_loss"])
        better = loss > m["best_loss"]
        m["best"], m["best_gradient"] = where(better, x, m["best"]), where(better, gradient, m["best_gradient"])
        m["best_loss"], m["last_loss"] = torch.where(better, loss, m["best_loss"]), loss

        halve = self._halve(m, step)
        m["size"] = torch.where(halve, m["size"] / 2, m["size"])
        x, gradient = where(halve, m["best"], x), where(halve, m["best_gradient"], gradient)

        forward = self.ball.project(x + m["size"][:, None, None, None] * self.ball.steepest(gradient), state.clean)
        share = torch.where(step == 0, 1.0, MOMENTUM).float()[:, None, None, None]
        following = self.ball.project(x + share * (forward - x) + (1 - share) * (x - m["previous"]), state.clean)
        m["previous"] = x
        return state.advanced(following, raw, grads=self.eot.draws, memory=m)

    def _halve(self, m: dict[str, Tensor], step: Tensor) -> Tensor:
        """Return which images halve their step size now, (n,) bool, and update `m`.

        These are conditions 1 and 2 of the article, at a checkpoint.
        """
        due = torch.zeros_like(step, dtype=torch.bool)
        for w in self.checkpoints:
            due |= step == w
        few = m["rises"] < SHARE * (step - m["checkpoint"])
        stuck = (m["halved"] == 0) & (m["checkpoint_loss"] >= m["best_loss"])
        halve = due & (few | stuck)
        m["halved"] = torch.where(due, halve.to(m["halved"].dtype), m["halved"])
        m["checkpoint_loss"] = torch.where(due, m["best_loss"], m["checkpoint_loss"])
        m["checkpoint"] = torch.where(due, step.to(m["checkpoint"].dtype), m["checkpoint"])
        m["rises"] = torch.where(due, 0, m["rises"])
        return halve

    def result(self, state: State) -> Tensor:
        """Return the best iterate."""
        return state.memory["best"]
