"""Speckle before the classifier: noise that is stronger where the image is brighter, fresh in each draw."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor

from bart import Mirror, Preprocessor, rng
from bart.bpda import combo
from bart.defenses import Policy
from bart.types import Size
from pipeline.config.defenses import Defense


@dataclass(frozen=True)
class Speckle(Preprocessor):
    """Multiply each value of an image by 1 + N(0, sigma^2). All randomness comes from the keys."""

    sigma: float = 0.1
    random = True

    def draw(self, keys: Mirror, size: Size, order_keys: Mirror | None = None) -> Tensor:
        return rng.fold(keys.device, "speckle")

    def apply(self, x: Tensor, draws: Tensor, policy: Policy = combo) -> Tensor:
        return x * (1 + self.sigma * rng.normal_field(draws, tuple(x.shape[1:])))


class SpeckleDefense(Defense):
    """Speckle before the classifier."""

    kind: Literal["speckle"] = Field(description="which defense this is")
    sigma: float = Field(0.1, gt=0, le=1, description="standard deviation of the factors")

    def build(self) -> Speckle:
        return Speckle(self.sigma)
