"""Define the settings that attacks share: those of every kind, and those of attacks that follow gradients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

import bart
from bart import ESTIMATORS, LOSSES, Ball, Break, Eot
from pipeline.config.choices import Choice
from pipeline.config.fields import Length, Strict

Loss = Annotated[str, Choice(LOSSES)]
Estimator = Annotated[str, Choice(ESTIMATORS)]

KIND = "kind of attack"
NORM = "norm of the ball around each image"
STEPS = "number of steps"
LOSS = (
    "function to increase: cross-entropy, the log odds against the label (the direction of cross-entropy, which saturates), "
    "the margin, or the margin divided by the scale of the logits"
)
ESTIMATOR = "the mean over draws of the loss, or the loss of the mean over draws"
ORDER = "in one step, all draws of an image use the same transforms in the same order, with different parameters"
START = "start at a random point of the ball, not at the image"


SPARSE = {"l1": "apgd", "l0": "sigma_zero"}
"""The kinds of attacks that are made for norms in which few values change."""


@dataclass(frozen=True, init=False)
class OneNorm:
    """Annotate the norms in which a kind attacks: `Annotated[str, OneNorm("linf", "l2")]`."""

    norms: tuple[str, ...]

    def __init__(self, *norms: str) -> None:
        object.__setattr__(self, "norms", norms)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": list(self.norms)}

    def _known(self, norm: str) -> str:
        """Return the norm. Raises ValueError unless the kind attacks in it."""
        if norm not in self.norms:
            instead = f"; in {norm}, {SPARSE[norm]} does" if norm in SPARSE else ""
            raise ValueError(f"{norm!r}: this kind of attack expects {' or '.join(self.norms)}{instead}")
        return norm


def _meant(value: float) -> str:
    """Return a question where a length seems to be in grey levels."""
    return f"; did you mean {value:g}/255?" if value >= 1 and value <= 255 else ""


class Attack(Strict):
    """Hold the settings that every kind has."""

    version: ClassVar[int] = 1
    """Of the kind's definition, from 1. A change that changes examples takes the next: then its cells have another identity."""

    undecisive: ClassVar[frozenset[str]] = frozenset()
    """Settings that decide no number, such as the place of a file whose hash stands beside it."""

    if TYPE_CHECKING:  # each kind has a field of this name

        @property
        def kind(self) -> str: ...

    norm: Annotated[str, OneNorm("linf", "l2")] = Field("linf", description=NORM)
    eps: Length = Field(
        description="radius of the ball, as a fraction of the range [0, 1]: 8/255; in l1 the sum over all values of an image, "
        "in l0 the number of values that may change: a pixel has three"
    )
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
        if self.norm == "l0" and self.eps != int(self.eps):
            raise ValueError(f"eps {self.eps:g}: expected a whole number in l0, of values that may change; a pixel has three")
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
    def needs_gradient(self) -> bool:
        """Return whether it cannot run where the model has no gradient in its image."""
        return self.build(False).cost.gradients > 0

    @property
    def at_once(self) -> int | None:
        """Return how many images one step takes at once; None: as many as fit on the device."""
        return None

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
    frequencies: float = Field(
        1.0, gt=0, le=1, description="share of each side's spatial frequencies (DCT) that gradients keep, from the lowest up"
    )

    @model_validator(mode="after")
    def _networks_named(self) -> "ByGradient":
        if self.policy == "network" and self.networks is None:
            raise ValueError("policy network needs `networks`: name the folder that `barrage train` wrote")
        if self.networks_sha256 and self.networks is None:
            raise ValueError("networks_sha256 is given without `networks`: name the folder of the networks")
        return self

    def eot(self, draws: int) -> Eot:
        """Return how its gradients are estimated."""
        return Eot(draws, self.loss, self.estimator, self.policy, self.fixed_order, frequencies=self.frequencies)

    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {"losses": (self.loss,), "estimators": (self.estimator,)}

    @property
    def gradient(self) -> str:
        return self.policy

    @property
    def imitated_by(self) -> str | None:
        return self.networks_sha256


class Plain(Attack):
    """Hold the settings of attacks that run once, untargeted, to their end: what they cannot have is no key."""

    goal: ClassVar[str] = "untargeted"  # type: ignore[misc]
    mode: ClassVar[str] = "strongest"  # type: ignore[misc]
    break_draws: ClassVar[int] = 1  # type: ignore[misc]
    break_every: ClassVar[int] = 1  # type: ignore[misc]
    restarts: ClassVar[int] = 1  # type: ignore[misc]
    restart_draws: ClassVar[int] = 1  # type: ignore[misc]

    @property
    def needs_gradient(self) -> bool:
        return False
