"""Define the settings of defenses that change images before the classifier."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

import bart.defenses as built
from bart import TRANSFORMS
from pipeline.config.defenses.defense import Defense
from pipeline.config.fields import AlsoWritten

KIND = "kind of defense"

Range = Annotated[
    tuple[int, int],
    AlsoWritten(lambda value: (value, value) if isinstance(value, int) else value, lambda pair: {"type": "integer"}),
]
"""A whole number that is drawn from a range, both ends included; one number: always that."""


class Checked(Defense):
    """Hold what these kinds have in common: their settings are checked by building them, and cost little."""

    @model_validator(mode="after")
    def _possible(self) -> "Checked":
        self.build()
        return self

    def named(self) -> Mapping[str, tuple[str, ...]]:
        """Return the transforms of the table that it uses."""
        return {TRANSFORMS.table: found} if (found := self.build().differentiated) else {}


class Gaussian(Checked):
    """Gaussian noise (Cohen, Rosenfeld, Kolter 2019)."""

    kind: Literal["gaussian"] = Field(description=KIND)
    sigma: float = Field(gt=0, le=10, description="standard deviation of the noise, for images in [0, 1]")
    clip: bool = Field(False, description="clip the noisy image to [0, 1]; the article does not")

    def build(self) -> built.Gaussian:
        return built.Gaussian(self.sigma, self.clip)


class ResizePad(Checked):
    """Random size and random padding (Xie et al. 2018). The model gets images as large as the padded ones."""

    kind: Literal["resize_pad"] = Field(description=KIND)
    sizes: tuple[int, int] | None = Field(
        None,
        description="least side after resizing, and side after padding, in pixels; default: the article's 299 and 331, scaled "
        "as if the image had 299",
    )
    fill: float = Field(0.5, ge=0, le=1, description="value of the padding")

    def build(self) -> built.ResizePad:
        low, high = self.sizes or (None, None)
        return built.ResizePad(low, high, self.fill)


class CropEnsemble(Checked):
    """The mean of the probabilities of random crops (Guo et al. 2018). Every crop is a pass of the model."""

    kind: Literal["crop_ensemble"] = Field(description=KIND)
    crops: int = Field(30, ge=1, le=1000, description="crops of each draw")
    share: float = Field(0.402, gt=0, le=1, description="share of each side that a crop has before it is enlarged")

    def build(self) -> built.CropEnsemble:
        return built.CropEnsemble(self.crops, self.share)


class BitDepth(Checked):
    """Fewer bits of each value (Guo et al. 2018; Xu et al. 2018)."""

    kind: Literal["bit_depth"] = Field(description=KIND)
    bits: Range = Field((3, 3), description="bits of a value, 1 to 8: from, to, drawn for each image; one number: always that")

    def build(self) -> built.BitDepth:
        return built.BitDepth(*self.bits)


class Jpeg(Checked):
    """JPEG (Dziugaite et al. 2016; Guo et al. 2018)."""

    kind: Literal["jpeg"] = Field(description=KIND)
    quality: Range = Field((75, 75), description="quality, 50 to 100: from, to, drawn for each image; one number: always that")

    def build(self) -> built.Jpeg:
        return built.Jpeg(*self.quality)


class TotalVariation(Checked):
    """Values dropped at random and filled in by the least total variation (Guo et al. 2018)."""

    kind: Literal["tv"] = Field(description=KIND)
    keep: float = Field(0.5, gt=0, le=1, description="probability of each value to be kept")
    weight: float = Field(0.03, gt=0, le=10, description="weight of the total variation")

    def build(self) -> built.TotalVariation:
        return built.TotalVariation(self.keep, self.weight)
