"""Define the attacks without gradients: settings that say which attack of `bart` they mean."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

import bart
from pipeline.config.attacks.settings import KIND, NORM, STEPS, Attack, OneNorm
from pipeline.config.fields import Length


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


class PopSkipJump(Attack):
    """PopSkipJump: a walk along the boundary between right and wrong, by decisions alone, each of one fresh draw."""

    kind: Literal["pop_skip_jump"] = Field(description=KIND)
    steps: int = Field(50, ge=1, description=STEPS)
    queries: int = Field(100, ge=1, description="decisions around a point of the boundary, for one step along it")

    eot_draws: ClassVar[int] = 1  # type: ignore[misc]  # a decision is that of one draw

    @model_validator(mode="after")
    def _untargeted(self) -> "PopSkipJump":
        if self.goal != "untargeted":
            raise ValueError(f"goal {self.goal}: this attack starts from random images, expected untargeted")
        return self

    def once(self, draws: int) -> bart.Attack:
        return bart.PopSkipJump(self.ball, self.steps, self.queries)


class Noise(Attack):
    """The best of random points."""

    kind: Literal["noise"] = Field(description=KIND)
    norm: Annotated[str, OneNorm("linf", "l2", "l1", "l0")] = Field("linf", description=NORM)
    steps: int = Field(20, ge=1, description="number of points")

    @property
    def chooses(self) -> bool:
        return True

    def once(self, draws: int) -> bart.Attack:
        return bart.Noise(self.ball, self.steps, draws)
