"""Hold what the deep questions share: images of CIFAR-10, and the ResNet20 that was trained for the barrage, behind one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart import Attack, Ball, Barrage, Defended, Eot, Goal, Mirror, Pgd, judge, key
from benchmarks.setting import cifar

Array = np.ndarray[Any, np.dtype[np.float64]]
STACK = 128
BALL = Ball("linf", 8 / 255)


@dataclass(frozen=True)
class Bench:
    """Hold images (n, 3, 32, 32) in [0, 1] with their goal and names, and the defended model."""

    defended: Defended
    x: Tensor
    goal: Goal
    names: list[str]

    @classmethod
    def of(cls, images: int, k: int) -> "Bench":
        """Return the first `images` test images behind `k` transforms."""
        model, x, label, names = cifar(images, "bart")
        return cls(Defended(model, Barrage(k)), x, Goal(label, torch.full_like(label, -1)), names)

    def keys(self, *what: str | int) -> Mirror:
        """Return a key for each image, by what it is for."""
        return mirror([key("deep", *what, name) for name in self.names])

    def right(self, stored: Tensor, draws: int, *what: str | int) -> Array:
        """Return which of `draws` fresh draws are right of each 8-bit image, (n, draws) of 0 and 1."""
        top5 = judge(self.defended, stored, self.keys("judge", *what), draws, STACK).top5
        return (top5[:, :, 0] == self.goal.label[:, None]).double().numpy()


def mirror(keys: Sequence[int]) -> Mirror:
    return Mirror.of(torch.tensor(keys, dtype=torch.int64), "cpu")


def pgd(steps: int, draws: int, momentum: float = 0.9) -> Pgd:
    """Return the default attack of campaign files, with other steps and draws."""
    return Pgd(BALL, steps, max(2.5 / steps, 0.25) * BALL.eps, eot=Eot(draws), momentum=momentum)


def iterates(bench: Bench, attack: Attack, *what: str | int) -> list[Any]:
    """Return the states of an attack, from its start to its end; `what` names the attack's own randomness."""
    states = [attack.start(bench.x, bench.goal, bench.keys("attack", *what))]
    for _ in range(attack.steps):
        states.append(attack.step(states[-1], bench.defended, STACK))
    return states
