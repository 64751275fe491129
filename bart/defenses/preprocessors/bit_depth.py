"""Reduce the bits of each value (Guo et al., ICLR 2018; Xu, Evans, Qi, NDSS 2018)."""

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from bart import rng
from bart.defenses.preprocessors.scale import Scale
from bart.defenses.preprocessors.transformed import Transformed
from bart.transforms import TRANSFORMS
from bart.types import Params, Size, Transform


@dataclass(frozen=True)
class BitDepth(Transformed):
    """Round each value x of an image to the nearest of 2^bits levels: round(x (2^bits - 1)) / (2^bits - 1).

    The bits are drawn from `low`..`high` for each image, both included; Guo et al. take 3. It is the barrage's colour precision
    with 2^bits - 1 steps, so the gradient is straight-through. Raises ValueError for bits outside 1..8.
    """

    low: int = 3
    high: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high <= 8:
            raise ValueError(f"bits {self.low} to {self.high}: expected two numbers of 1 to 8, the smaller one first")

    @property
    def scale(self) -> Scale:
        """Return the bits."""
        return Scale("bits", self.low, self.high)

    @cached_property
    def transform(self) -> Transform:
        """Return the barrage's colour precision, with one scale for the three channels."""

        def draw(keys: Tensor, size: Size) -> Params:
            bits = rng.integers(keys, "bits", self.low, self.high)
            return {"bits": bits, "scale": (2**bits - 1)[:, None].expand(-1, 3)}

        return replace(TRANSFORMS["color_precision"], draw=draw)
