"""Define the section of a model: its architecture, its weights, and what is done to images before."""

from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from pipeline.config import contents
from pipeline.config.fields import Strict
from pipeline.config.framing import Fit, Framing, Interpolation, Rounding

Channels = tuple[float, float, float]
"""A value for each channel: red, green, blue."""


class Model(Strict):
    """Name a classifier by its architecture (`pipeline.models.architectures`) and weights. Missing preprocessing is filled in
    from the weights' manifest or from the architecture's library; `resize`, `crop` and `fit` only where `data` has none."""

    architecture: str = Field(
        description="efficientnet_lite0, resnet18_cifar, resnet20_cifar, torchvision:NAME, timm:NAME or package.module:function"
    )
    weights: str | None = Field(
        None, description="a file (.pt, .pth, .safetensors, .ckpt, .bin, .tar), or the library's name of its weights"
    )
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the weights file, to check it by")
    contents_sha256: str | None = Field(None, pattern=contents.SHA256, description=contents.DESCRIPTION)
    classes: int = Field(1000, ge=2, description="number of classes; labels are 0 to classes - 1")
    mean: Channels | None = Field(None, description="mean of each channel of images in [0, 1], subtracted first")
    std: Channels | None = Field(None, description="standard deviation of each channel; divides the result")
    resize: int | None = Field(None, ge=32, description="like `resize` of data, for this model only")
    crop: int | None = Field(None, ge=32, description="like `crop` of data, for this model only")
    interpolation: Interpolation | None = Field(
        None, description="filter that resizes, antialiased as Pillow does; default: the library's, else bicubic"
    )
    fit: Fit | None = Field(
        None, description="`resize` is the length of the shorter side, or squash: of both; default: the library's, else shorter"
    )
    rounding: Rounding | None = Field(
        None,
        description="of the longer side and the crop's corner. nearest: side to the nearest pixel, corner down; torchvision, "
        "timm's too: side down, corner to the nearest, ties to even; default: the library's, else nearest",
    )

    @field_validator("mean", "std")
    @classmethod
    def _of_images_in_0_to_1(cls, values: Channels | None, info: ValidationInfo) -> Channels | None:
        least = "at least 0" if info.field_name == "mean" else "more than 0"
        for value in values or ():
            if not 0 <= value <= 1 or (value == 0 and info.field_name == "std"):
                raise ValueError(
                    f"{value:g}: expected {least} and at most 1, as images are in [0, 1]; divide by 255 what is for 0 to 255"
                )
        return values

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation per channel, for images in [0, 1]. The model must be resolved."""
        assert self.mean and self.std, "the model was not resolved: pipeline.models.loading.described"
        return self.mean, self.std

    @property
    def framing(self) -> Framing:
        """Return how images are resized and cropped, besides the lengths."""
        return Framing(**{name: value for name in Framing._fields if (value := getattr(self, name)) is not None})

    def deciding(self) -> dict[str, Any]:
        """Return what of the section decides numbers, as plain values.

        Where weights have a hash, their path is only a place. What came later than release 0.1 is there only if it is set.
        """
        content = self.model_dump(mode="json")
        unset = [name for name in (*Framing._fields, contents.KEY) if content[name] is None]
        for name in [*unset, *(["weights"] if self.sha256 else [])]:
            del content[name]
        return content
