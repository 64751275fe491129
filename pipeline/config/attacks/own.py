"""Define the attacks of a campaign file that are barrage's own: settings that say which attack of `bart` they mean."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, model_validator

import bart
from bart import Eot
from pipeline.config.attacks.base import ESTIMATOR, KIND, LOSS, ORDER, START, STEPS, Attack, ByGradient, Estimator, Loss
from pipeline.config.fields import Length


class Pgd(ByGradient):
    """Projected gradient descent, by default with momentum: gradients of few draws are noisy, their sum is less noisy.
    benchmarks/strength.py compares this default with other settings and other libraries."""

    kind: Literal["pgd"] = Field("pgd", description=KIND)
    steps: int = Field(40, ge=1, description=STEPS)
    step_size: Length | None = Field(None, description="length of a step; default: eps / 4, or 2.5 eps / steps if that is more")
    momentum: float = Field(0.9, ge=0, lt=1, description="decay of the sum of gradients; 0: only the current gradient")

    def once(self, draws: int) -> bart.Attack:
        size = self.step_size or self.eps * max(1 / 4, 2.5 / self.steps)
        return bart.Pgd(self.ball, self.steps, size, self.random_start, self.eot(draws), self.momentum)


class Fgsm(ByGradient):
    """The fast gradient sign method: one step."""

    kind: Literal["fgsm"] = Field("fgsm", description=KIND)
    random_start: bool = Field(False, description=START)

    def once(self, draws: int) -> bart.Attack:
        return bart.fgsm(self.ball, self.eot(draws), self.random_start)


class AggMo(ByGradient):
    """Aggregated momentum: by default with the margin of the mean logits, and one order of transforms per step."""

    kind: Literal["aggmo"] = Field(description=KIND)
    steps: int = Field(200, ge=1, description=STEPS)
    step_size: Length = Field(0.005, description="length of a step")
    buffers: int = Field(6, ge=1, description="number of momentum buffers; buffer j = 0, 1, ... decays by the factor 1 - 10^-j")
    loss: Loss = Field("margin", description=LOSS)
    estimator: Estimator = Field("mean_logits", description=ESTIMATOR)
    fixed_order: bool = Field(True, description=ORDER)

    def once(self, draws: int) -> bart.Attack:
        return bart.AggMo(self.ball, self.steps, self.step_size, self.random_start, self.eot(draws), self.buffers)


class Apgd(ByGradient):
    """Auto-PGD: PGD that halves its step size when progress stops."""

    kind: Literal["apgd"] = Field(description=KIND)
    steps: int = Field(100, ge=1, description=STEPS)

    def once(self, draws: int) -> bart.Attack:
        return bart.Apgd(self.ball, self.steps, self.random_start, self.eot(draws))


class DualAveraging(ByGradient):
    """Dual averaging: each iterate is the ball's answer to the sum of all gradients, each draw's divided by its own L1 norm."""

    kind: Literal["dual_averaging"] = Field(description=KIND)
    steps: int = Field(40, ge=1, description=STEPS)
    eot_draws: int = Field(5, ge=1, description="draws per gradient")
    loss: Loss = Field("log_odds", description=LOSS)

    @model_validator(mode="after")
    def _mean_over_draws(self) -> "DualAveraging":
        self.eot(1)  # raises for an estimator that has no gradient of a single draw
        return self

    def eot(self, draws: int) -> Eot:
        return replace(super().eot(draws), unit=True)

    def once(self, draws: int) -> bart.Attack:
        return bart.DualAveraging(self.ball, self.steps, self.random_start, self.eot(draws))


class Standard(ByGradient):
    """The standard attack: give it a budget, and it sets everything else itself. See docs/standard.md."""

    kind: Literal["standard"] = Field(description=KIND)
    budget: int = Field(200, ge=1, description="draw-gradients an image; forward passes count a third")

    eot_draws: ClassVar[int] = 5  # type: ignore[misc]  # what the attack sets itself is no key of the file
    restarts: ClassVar[int] = 1  # type: ignore[misc]
    restart_draws: ClassVar[int] = 1  # type: ignore[misc]
    transfer: ClassVar[bool] = False  # type: ignore[misc]
    loss: ClassVar[str] = "log_odds"  # type: ignore[misc]
    estimator: ClassVar[str] = "per_draw"  # type: ignore[misc]
    fixed_order: ClassVar[bool] = False  # type: ignore[misc]
    random_start: ClassVar[bool] = True  # type: ignore[misc]

    def eot(self, draws: int) -> Eot:
        return replace(super().eot(draws), unit=True)

    def named(self) -> Mapping[str, tuple[str, ...]]:
        own = super().named()
        return {**own, "losses": (*own["losses"], "margin")}  # the search compares margins

    def once(self, draws: int) -> bart.Attack:
        return bart.Standard.of_budget(self.ball, self.budget, self.eot(min(draws, self.budget)))


class Lbfgs(ByGradient):
    """The smallest successful perturbation, by L-BFGS on frozen draws."""

    kind: Literal["lbfgs"] = Field(description=KIND)
    steps: int = Field(100, ge=1, description="number of gradients, over all searches together")
    searches: int = Field(5, ge=1, description="number of searches, each with another weight of the perturbation's size")

    def once(self, draws: int) -> bart.Attack:
        return bart.Lbfgs(self.ball, self.steps, self.searches, eot=self.eot(draws))

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {**super().named(), "losses": (self.loss, "margin")}  # each round is judged by the margin


class Square(Attack):
    """Random squares, kept if they increase the margin on the same draws."""

    kind: Literal["square"] = Field(description=KIND)
    steps: int = Field(1000, ge=1, description="number of squares to try")
    p: float | None = Field(
        None, gt=0, le=1, description="area of the first squares as a share of the image; default: the article's"
    )

    def once(self, draws: int) -> bart.Attack:
        return bart.Square(self.ball, self.steps, draws, **({"p": self.p} if self.p else {}))

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {"losses": ("margin",)}


class Spsa(Attack):
    """Gradients estimated from values only."""

    kind: Literal["spsa"] = Field(description=KIND)
    steps: int = Field(50, ge=1, description=STEPS)
    step_size: Length = Field(0.01, description="length of a step")
    pairs: int = Field(64, ge=1, description="number of pairs of points around the image, for one estimate of the gradient")
    delta: Length = Field(0.01, description="distance of these points from the image")
    eot_draws: int = Field(1, ge=1, description="draws per query")

    def once(self, draws: int) -> bart.Attack:
        return bart.Spsa(self.ball, self.steps, self.step_size, self.pairs, draws, self.delta)

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {"losses": ("margin",)}


class Noise(Attack):
    """The best of random points."""

    kind: Literal["noise"] = Field(description=KIND)
    steps: int = Field(20, ge=1, description="number of points")

    def once(self, draws: int) -> bart.Attack:
        return bart.Noise(self.ball, self.steps, draws)
