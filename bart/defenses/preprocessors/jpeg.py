"""Encode and decode images as JPEG (Dziugaite, Ghahramani, Roy, 2016; Guo et al., ICLR 2018)."""

from dataclasses import dataclass, replace
from functools import cached_property

from bart import rng
from bart.defenses.preprocessors.scale import Scale
from bart.defenses.preprocessors.transformed import Transformed
from bart.transforms import TRANSFORMS
from bart.types import Transform


@dataclass(frozen=True)
class Jpeg(Transformed):
    """Encode and decode each image as JPEG, as libjpeg does, with the barrage's transform and its straight-through gradient.

    The quality is drawn from `low`..`high` for each image, both included, on the scale of the Independent JPEG Group; that of
    Guo et al. is 75. Raises ValueError for one outside 50..100.
    """

    low: int = 75
    high: int = 75

    def __post_init__(self) -> None:
        if not 50 <= self.low <= self.high <= 100:
            raise ValueError(f"quality {self.low} to {self.high}: expected two numbers of 50 to 100, the smaller one first")

    @property
    def scale(self) -> Scale:
        """Return the quality."""
        return Scale("quality", self.low, self.high)

    @cached_property
    def transform(self) -> Transform:
        """Return the barrage's JPEG."""
        low, high = self.low, self.high
        return replace(TRANSFORMS["jpeg"], draw=lambda keys, size: {"quality": rng.integers(keys, "quality", low, high)})
