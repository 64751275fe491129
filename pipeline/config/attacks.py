"""Define the attacks of a campaign file, by `kind`: settings that say which attack of `bart` they mean."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

import bart
from barrage_plugins import Registry
from bart import ESTIMATORS, LOSSES, Ball, Break, Eot
from pipeline.config.choices import Choice, Section
from pipeline.config.fields import Length, Strict

Loss = Annotated[str, Choice(LOSSES)]
Estimator = Annotated[str, Choice(ESTIMATORS)]

KIND = "kind of attack"
STEPS = "number of steps"
LOSS = (
    "function to increase: cross-entropy, the log odds against the label (the direction of cross-entropy, which saturates), "
    "the margin, or the margin divided by the scale of the logits"
)
ESTIMATOR = "the mean over draws of the loss, or the loss of the mean over draws"
ORDER = "in one step, all draws of an image use the same transforms in the same order, with different parameters"
START = "start at a random point of the ball, not at the image"


def _meant(value: float) -> str:
    """Return a question where a length seems to be in grey levels."""
    return f"; did you mean {value:g}/255?" if value >= 1 and value <= 255 else ""


class Attack(Strict):
    """Hold the settings that every kind has."""

    version: ClassVar[int] = 1
    """Of the kind's definition, from 1. A change that changes examples takes the next: then its cells have another identity."""

    if TYPE_CHECKING:  # each kind has a field of this name

        @property
        def kind(self) -> str: ...

    norm: Literal["linf", "l2"] = Field("linf", description="norm of the ball around each image")
    eps: Length = Field(description="radius of the ball, as a fraction of the range [0, 1]: 8/255")
    goal: Literal["untargeted", "random_target", "least_likely"] = Field(
        "untargeted",
        description="any wrong class; a random wrong class; or the class that is least likely for the undefended model",
    )
    eot_draws: int = Field(10, ge=1, description="draws per gradient, or per query of an attack without gradients")
    mode: Literal["strongest", "first_break"] = Field(
        "strongest",
        description="strongest: all steps on every image; first_break: stop an image as soon as its example succeeds",
    )
    break_draws: int = Field(10, ge=1, description="first_break: fresh draws on which the example must succeed, all of them")
    break_every: int = Field(1, ge=1, description="first_break: steps between two tests of the example")
    restarts: int = Field(1, ge=1, description="how often to run the attack; each image keeps its best example")
    restart_draws: int = Field(20, ge=1, description="fresh draws to choose the best of the restarts")
    transfer: bool = Field(False, description="attack the undefended model, judge the defended one")

    @model_validator(mode="after")
    def _lengths_make_sense(self) -> "Attack":
        """Check that the ball is smaller than all images, and a step no longer than the ball. Raises ValueError."""
        if self.norm == "linf" and self.eps > 1:
            raise ValueError(f"eps {self.eps:g}: images are in [0, 1], expected at most 1 in linf{_meant(self.eps)}")
        step = getattr(self, "step_size", None)
        if step is not None and step > 2 * self.eps and "step_size" in self.model_fields_set:
            raise ValueError(
                f"step_size {step:g} is longer than the ball is wide, so every step ends at its edge: expected at most 2 eps, "
                f"which is {2 * self.eps:g}, such as eps / 4 = {self.eps / 4:.3g}{_meant(step)}"
            )
        return self

    def build(self, random: bool) -> bart.Attack:
        """Return the attack, for a defense that is `random` or not: where nothing is random, one draw suffices."""
        random = random and not self.transfer
        attack = self.once(self.eot_draws if random else 1)
        if self.restarts > 1:
            attack = bart.Restarts(attack, self.restarts, self.restart_draws if random else 1)
        return bart.Transfer(attack) if self.transfer else attack

    def once(self, draws: int) -> bart.Attack:
        """Return one run of the attack, with `draws` draws per gradient or query."""
        raise NotImplementedError

    def named(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of other tables that decide its numbers: {"losses": ("ce",)}."""
        return {}

    @property
    def ball(self) -> Ball:
        return Ball(self.norm, self.eps)

    @property
    def first_break(self) -> Break | None:
        return Break(self.break_draws, self.break_every) if self.mode == "first_break" else None

    @property
    def chooses(self) -> bool:
        """Return whether it chooses the best of several examples by `bart.gradient.score`."""
        return self.restarts > 1

    @property
    def gradient(self) -> str:
        """Return where its gradients come from, for the row."""
        return "none"

    @property
    def imitated_by(self) -> str | None:
        """Return the hash of its BPDA networks, for the row; None if it has none."""
        return None


class ByGradient(Attack):
    """Hold the settings of attacks that follow the gradient of a loss, expected over draws."""

    loss: Loss = Field("ce", description=LOSS)
    estimator: Estimator = Field("per_draw", description=ESTIMATOR)
    policy: Literal["combo", "identity", "network"] = Field(
        "combo",
        description="combo: each transform's own derivative, else its network's, else the identity; or one of these for all",
    )
    networks: str | None = Field(None, description="folder of BPDA networks that `barrage train` wrote")
    networks_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="hash of all networks, to check them by")
    fixed_order: bool = Field(False, description=ORDER)
    random_start: bool = Field(True, description=START)

    @model_validator(mode="after")
    def _networks_named(self) -> "ByGradient":
        if self.policy == "network" and self.networks is None:
            raise ValueError("policy network needs `networks`: name the folder that `barrage train` wrote")
        if self.networks_sha256 and self.networks is None:
            raise ValueError("networks_sha256 is given without `networks`: name the folder of the networks")
        return self

    def eot(self, draws: int) -> Eot:
        """Return how its gradients are estimated."""
        return Eot(draws, self.loss, self.estimator, self.policy, self.fixed_order)

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {"losses": (self.loss,), "estimators": (self.estimator,)}

    @property
    def gradient(self) -> str:
        return self.policy

    @property
    def imitated_by(self) -> str | None:
        return self.networks_sha256


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

    kind: Literal["standard"] = Field("standard", description=KIND)
    budget: int = Field(200, ge=1, description="draw-gradients an image; forward passes count a third")

    eot_draws: ClassVar[int] = 5  # type: ignore[misc]  # what the attack sets itself is no key of the file
    restarts: ClassVar[int] = 1  # type: ignore[misc]
    restart_draws: ClassVar[int] = 1  # type: ignore[misc]
    transfer: ClassVar[bool] = False  # type: ignore[misc]
    loss: ClassVar[str] = bart.attacks.standard.LOSS  # type: ignore[misc]
    estimator: ClassVar[str] = "per_draw"  # type: ignore[misc]
    fixed_order: ClassVar[bool] = False  # type: ignore[misc]
    random_start: ClassVar[bool] = True  # type: ignore[misc]

    def eot(self, draws: int) -> Eot:
        return replace(super().eot(draws), unit=True)

    @property
    def chooses(self) -> bool:
        return True

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

    @property
    def chooses(self) -> bool:
        return True

    def once(self, draws: int) -> bart.Attack:
        return bart.Noise(self.ball, self.steps, draws)


KINDS: Registry[type[Attack]] = Registry(
    "attack kind",
    "attacks",
    builtin={
        "pgd": Pgd,
        "fgsm": Fgsm,
        "aggmo": AggMo,
        "apgd": Apgd,
        "dual_averaging": DualAveraging,
        "standard": Standard,
        "lbfgs": Lbfgs,
        "square": Square,
        "spsa": Spsa,
        "noise": Noise,
    },
    expected="a class of settings that inherits pipeline.config.attacks.Attack",
    accepts=lambda name, thing: isinstance(thing, type) and issubclass(thing, Attack),
)
"""The kinds of attacks by the name that a campaign file uses, with those of other packages (`barrage.attacks`)."""

ATTACK = Section(KINDS, "standard", former="pgd")
"""A section of an attack; one that names no kind is the standard attack, or PGD if it sets steps or what else only PGD has."""

AnyAttack = Annotated[Attack, ATTACK]
"""An attack of any kind."""
