"""Attack by Auto-PGD in L1: sparse steps, whose sparsity follows that of the best example, and three shrinking balls.

Source: Croce and Hein, ICML 2021 (Mind the box), algorithm 1 and section 4.3.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bart import rng
from bart.attacks.attack import GradientSteps, ascent, finite, where
from bart.attacks.state import State, begin
from bart.ball import Ball, project_l1
from bart.defenses import Defended
from bart.gradient import Eot, Goal

RADII = (3, 2, 1)
"""The radii of the balls, one after the other, in units of eps; they take 3, 3 and 4 tenths of the steps."""

FIRST_SHARE = 0.2
"""The share of the values that the first steps move."""

FEWER, SHRUNK = 1.5, 0.95
"""A step moves 1 / `FEWER` of the values in which the best example differs. If these have become fewer, by at least the factor
`SHRUNK`, the step is as long as the radius again; else it is divided by `FEWER`, down to a tenth of the radius."""


@dataclass(frozen=True)
class ApgdL1(GradientSteps):
    """Take `steps` gradients. The example is the iterate with the highest loss: with draws, the highest of noisy estimates.

    Raises ValueError for a ball of another norm.
    """

    ball: Ball
    steps: int = 100
    random_start: bool = True
    eot: Eot = field(default_factory=Eot)

    def __post_init__(self) -> None:
        if self.ball.norm != "l1":
            raise ValueError(f"norm {self.ball.norm!r}: expected l1; Apgd attacks in linf and l2")

    @property
    def begins(self) -> tuple[int, ...]:
        """Return the step at which each ball begins, and the number of steps."""
        part = 3 * self.steps // 10
        return 0, part, 2 * part, self.steps

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        """Start at a random point of the first ball or at the image. Memory, per image:

        best, best_gradient, best_loss   the iterate of this ball with the highest loss
        size        the length of a step
        share       the share of the values that a step moves
        changed     the number of values in which the best example differed when this was last adapted
        """
        first = Ball("l1", self._radius(torch.zeros(1, dtype=torch.int64, device="cpu")).item())
        x = first.start(clean, rng.fold(keys.device, "start")) if self.random_start else clean.clone()
        number = clean.new_zeros(len(clean))
        return begin(
            clean,
            x,
            goal,
            keys,
            best=x.clone(),
            best_gradient=torch.zeros_like(x),
            best_loss=number - torch.inf,
            size=number + first.eps,
            share=number + FIRST_SHARE,
            changed=number + clean[0].numel(),
        )

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Evaluate the iterate, adapt the steps if due, step, and go on to the next ball if due."""
        raw, loss = ascent(state, defended, self.eot, stack)
        gradient, x, m, age = finite(raw), state.x, dict(state.memory), state.age
        better = loss.nan_to_num(-torch.inf) > m["best_loss"]
        m["best"], m["best_gradient"] = where(better, x, m["best"]), where(better, gradient, m["best_gradient"])
        m["best_loss"] = torch.where(better, loss, m["best_loss"])

        sparser = self._adapted(m, state, age)
        x, gradient = where(sparser, m["best"], x), where(sparser, m["best_gradient"], gradient)
        x = project_l1(x + m["size"][:, None, None, None] * _sparse(gradient, m["share"]), state.clean, self._radius(age))

        x = self._next_ball(m, state, x, age + 1)
        return state.advanced(x, raw, grads=self.eot.draws, memory=m)

    def result(self, state: State) -> Tensor:
        """Return the best iterate of the running ball, projected onto the last."""
        return self.ball.project(state.memory["best"], state.clean)

    def _radius(self, age: Tensor) -> Tensor:
        """Return the radius at each age, (n,)."""
        return self.ball.eps * torch.tensor(RADII, device=age.device, dtype=torch.float32)[self._place(age)].float()

    def _place(self, age: Tensor) -> Tensor:
        """Return which ball is in use at each age, (n,)."""
        _, second, third, _ = self.begins
        return (age >= second).long() + (age >= third).long()

    def _adapted(self, m: dict[str, Tensor], state: State, age: Tensor) -> Tensor:
        """Set length and sparsity of the steps of images that are due, every 4 hundredths of a ball's steps.

        Return which images go back to their best example, (n,) bool: those whose best example became sparser.
        """
        begins = torch.tensor(self.begins, device=age.device, dtype=torch.int64)
        place = self._place(age)
        since, period = age - begins[place], ((begins[1:] - begins[:-1]) // 25).clamp_min(1)[place]
        due = (since > 0) & (since % period == 0)
        changed, radius = _changed(m["best"], state.clean), self._radius(age)
        sparser = changed < SHRUNK * m["changed"]
        size = torch.where(sparser, radius, (m["size"] / FEWER).clamp_min(radius / 10))
        m["size"] = torch.where(due, size, m["size"])
        m["share"] = torch.where(due, changed / state.x[0].numel() / FEWER, m["share"])
        m["changed"] = torch.where(due, changed, m["changed"])
        return due & sparser

    def _next_ball(self, m: dict[str, Tensor], state: State, x: Tensor, age: Tensor) -> Tensor:
        """Return the iterates; those for which a smaller ball begins at `age` start there from their best, projected."""
        entered = (self._place(age) != self._place(age - 1)) & (age < self.steps)
        radius = self._radius(age)
        start = project_l1(m["best"], state.clean, radius)
        changed = _changed(start, state.clean)
        m["best"], m["best_loss"] = where(entered, start, m["best"]), torch.where(entered, -torch.inf, m["best_loss"])
        m["size"] = torch.where(entered, radius, m["size"])
        m["share"] = torch.where(entered, changed / x[0].numel() / FEWER, m["share"])
        m["changed"] = torch.where(entered, changed, m["changed"])
        return where(entered, start, x)


def _changed(x: Tensor, clean: Tensor) -> Tensor:
    """Return the number of values in which each image differs from the clean one, (n,)."""
    return (x != clean).flatten(1).sum(1).to(x.dtype)


def _sparse(gradient: Tensor, share: Tensor) -> Tensor:
    """Return a step of length 1 that moves the share (n,) of the values with the largest derivatives, all equally far."""
    size = gradient.abs().flatten(1)
    count = (share * size.shape[1]).ceil().long().clamp(1, size.shape[1])
    least = size.sort(1, descending=True).values.gather(1, count[:, None] - 1)
    signs = torch.where(size >= least, gradient.flatten(1).sign(), 0)
    return (signs / signs.abs().sum(1, keepdim=True).clamp_min(1)).view_as(gradient)
