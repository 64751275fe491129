"""Change one thing of the standard attack's first stage, for `python -m benchmarks.standard ablations`."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bart import Attack, Ball, Defended, DualAveraging, Pgd, Standard
from bart.attacks.attack import ascent, finite
from bart.attacks.standard import CHOICE_DRAWS
from bart.attacks.state import State

STEP = 2 / 255
"""Size of steps, where there are steps: that of plain PGD."""


@dataclass(frozen=True)
class Changed(DualAveraging):
    """Change dual averaging; with the defaults it is unchanged.

    from_step   the first step whose gradient stays in the sum
    hardens     whether the softness falls from 1 to 0 with the steps; else it is `softness` at all of them
    corner      whether the example is the farthest point along the sum; else the last iterate
    """

    from_step: int = 0
    hardens: bool = True
    softness: float = 1.0
    corner: bool = True

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Add the gradient at the iterate to the sum, and go where the sum points."""
        gradient, _ = ascent(state, defended, self.eot, stack)
        before = state.memory["total"].where((state.age != self.from_step)[:, None, None, None], 0)
        total, age = before + finite(gradient), (state.age + 1) / self.steps
        x = self.ball.towards(total, state.clean, 1 - age if self.hardens else self.softness)
        return state.advanced(x, gradient, grads=self.eot.draws, memory={"total": total})

    def result(self, state: State) -> Tensor:
        """Return the farthest point along the sum, or the last iterate."""
        return super().result(state) if self.corner else state.x


@dataclass(frozen=True)
class SteppedSum(Pgd):
    """Take steps of a fixed size, as PGD without momentum, but return the farthest point along the sum of all gradients."""

    def start(self, clean: Tensor, *rest: object) -> State:
        """Start as PGD, with an empty sum."""
        first = super().start(clean, *rest)  # type: ignore[arg-type]
        return replace(first, memory=first.memory | {"total": torch.zeros_like(clean)})

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Step along the gradient, and add it to the sum."""
        gradient, _ = ascent(state, defended, self.eot, stack)
        x = self.ball.step(state.x, finite(gradient), self.step_size, state.clean)
        return state.advanced(x, gradient, grads=self.eot.draws, memory={"total": state.memory["total"] + finite(gradient)})

    def result(self, state: State) -> Tensor:
        """Return the farthest point along the sum."""
        return self.ball.towards(state.memory["total"], state.clean)


def variants(ball: Ball, budget: int, whole: Standard) -> dict[str, Attack]:
    """Return the attacks with one thing changed, by what is changed, each of `budget` draw-gradients an image."""
    eot, steps = whole.eot, budget // whole.eot.draws
    plain = Changed(ball, steps, True, eot)

    def other(**changes: object) -> Attack:
        return replace(plain, eot=replace(eot, **changes))  # type: ignore[arg-type]

    def draws(count: int) -> Attack:
        return replace(plain, steps=max(1, budget // count), eot=replace(eot, draws=count))

    return {
        **({"no check after half of the steps": plain} if whole.choice_draws else {}),
        "draws not divided by their norms": other(unit=False),
        "the sum of the second half": replace(plain, from_step=steps // 2),
        "always at corners": replace(plain, hardens=False, softness=0.0),
        "never harder, a corner at the end": replace(plain, hardens=False),
        "never harder, no corner": replace(plain, hardens=False, corner=False),
        "steps of 2/255": Pgd(ball, steps, STEP, True, eot),
        "steps of 2/255, a corner at the end": SteppedSum(ball, steps, STEP, True, eot),
        "cross-entropy": other(loss="ce"),
        "log odds": other(loss="log_odds"),
        "starts at the image": replace(plain, random_start=False),
        "1 draw a step": draws(1),
        "10 draws a step": draws(10),
        "two runs, the better one": replace(whole, runs=2, choice_draws=CHOICE_DRAWS),
    }
