"""PGD whose steps get shorter: the t-th of T is (1 - t / T) times as long as the first."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field
from torch import Tensor

from bart import Attack, Ball, Defended, Eot, Goal, Mirror, State
from bart.attacks.attack import GradientSteps, ascent, finite
from bart.attacks.state import begin
from pipeline.config.attacks import KIND, STEPS, ByGradient
from pipeline.config.fields import Length


@dataclass(frozen=True)
class Decay(GradientSteps):
    """Take `steps` steps, the first of length `step_size`, in the unit of `ball.eps`."""

    ball: Ball
    steps: int = 40
    step_size: float = 4 / 255
    random_start: bool = True
    eot: Eot = field(default_factory=Eot)

    def start(self, clean: Tensor, goal: Goal, keys: Mirror) -> State:
        return begin(clean, self.first(clean, keys), goal, keys)

    def step(self, state: State, defended: Defended, stack: int) -> State:
        gradient, _ = ascent(state, defended, self.eot, stack)
        length = self.step_size * (1 - state.age / self.steps)[:, None, None, None]
        x = self.ball.project(state.x + length * self.ball.steepest(finite(gradient)), state.clean)
        return state.advanced(x, gradient, grads=self.eot.draws)

    def result(self, state: State) -> Tensor:
        return state.x


class DecaySettings(ByGradient):
    """PGD whose steps get shorter."""

    kind: Literal["decay"] = Field(description=KIND)
    steps: int = Field(40, ge=1, description=STEPS)
    step_size: Length = Field(4 / 255, description="length of the first step")

    def once(self, draws: int) -> Attack:
        return Decay(self.ball, self.steps, self.step_size, self.random_start, self.eot(draws))
