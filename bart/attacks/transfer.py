"""Attack the undefended classifier; the verdict is that of the defended one."""

from dataclasses import dataclass

from torch import Tensor

from bart import rng
from bart.attacks.attack import Attack, Cost
from bart.attacks.state import State
from bart.ball import Ball
from bart.defenses import Defended
from bart.gradient import Goal


@dataclass(frozen=True)
class Transfer:
    """Run `attack` against the classifier without its defense.

    A control: if it beats the white-box attack, that attack is weak.
    """

    attack: Attack

    @property
    def ball(self) -> Ball:
        return self.attack.ball

    @property
    def steps(self) -> int:
        return self.attack.steps

    @property
    def cost(self) -> Cost:
        return self.attack.cost

    @property
    def classes(self) -> int:
        return self.attack.classes

    def start(self, clean: Tensor, goal: Goal, keys: rng.Mirror) -> State:
        return self.attack.start(clean, goal, keys)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        """Make one step of the attack on the classifier without its defense."""
        return self.attack.step(state, Defended(defended.classifier, defended.defense.undefended()), stack)

    def result(self, state: State) -> Tensor:
        return self.attack.result(state)
