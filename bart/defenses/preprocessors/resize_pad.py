"""Resize each image to a random size and pad it at a random place (Xie et al., ICLR 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from bart import rng
from bart.bpda import combo
from bart.defenses.defense import Policy, Preprocessor
from bart.defenses.preprocessors.scale import Scale
from bart.types import Params, Settings, Size

Side = TypeVar("Side", int, Tensor)
"""The side of one image, or of many, in pixels."""

PAPER = (299, 331)
"""The shorter side before and after, in pixels, of the article."""


@dataclass(frozen=True)
class ResizePad(Preprocessor):
    """Enlarge each image by its nearest pixels to a side drawn from `low`..`high` - 1, and pad it to `high` at a random place.

    low, high   in pixels, of the shorter side; the longer one keeps the ratio. Default: 299 and 331, scaled to the image as if
                it had 299
    fill        the value of the padding; the article's is the middle of the range
    The classifier gets larger images than without the defense. The gradient is exact; no policy changes it. Raises ValueError
    for sizes that are not at least 1 and in order, or a fill outside [0, 1].
    """

    low: int | None = None
    high: int | None = None
    fill: float = 0.5
    random = True

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError("one size alone: give the smallest and the largest, or none for those of the article")
        if self.low is not None and self.high is not None and not 1 <= self.low < self.high:
            raise ValueError(f"sizes {self.low} to {self.high}: expected two numbers from 1 up, the smaller one first")
        if not 0 <= self.fill <= 1:
            raise ValueError(f"fill = {self.fill}: expected a value in [0, 1]")

    def sides(self, size: Size) -> tuple[int, int]:
        """Return the least shorter side after resizing, and the shorter side after padding, in pixels; at least one more."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        short = min(size)
        return short, max(short + 1, round(short * PAPER[1] / PAPER[0]))

    def size_after(self, size: Size) -> Size:
        """Return the height and width after padding."""
        _, high = self.sides(size)
        return _scaled(size[0], high, size), _scaled(size[1], high, size)

    @property
    def cost(self) -> float:
        """Return what the article's larger image costs, whatever the sizes are."""
        return 5 * ((PAPER[1] / PAPER[0]) ** 2 - 1) + 1

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the ranges of sizes, if they are given in pixels."""
        return Scale("size", self.low, self.high - 1).names if self.low is not None and self.high is not None else ()

    def parts(self, draws: Params) -> Sequence[Sequence[str]]:
        """Return the range in which the size of each draw is."""
        assert self.low is not None and self.high is not None, "the ranges depend on the image"
        scale = Scale("size", self.low, self.high - 1)
        return [[scale.name_of(side)] for side in draws["side"].tolist()]

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> Params:
        """Return for each row the shorter `side`, and `height`, `width`, `top` and `left` of the resized image, (n,) int64."""
        low, high = self.sides(size)
        side = rng.integers(keys.device, "side", low, high - 1)
        shape = [_scaled(length, side, size) for length in size]
        whole = self.size_after(size)
        top, left = (
            rng.integers(keys.device, name, 0, room - length)
            for name, room, length in zip(("top", "left"), whole, shape, strict=True)
        )
        return {"side": side, "height": shape[0], "width": shape[1], "top": top, "left": left}

    def settings(self, draws: Params) -> Settings:
        """Return the size of the resized image of one draw and its place in the padding, in pixels."""
        return {name: int(value[0]) for name, value in draws.items() if name != "side"}

    def apply(self, x: Tensor, draws: Params, policy: Policy = combo) -> Tensor:
        """Return the resized and padded images (n, c, h', w') of `x` (n, c, h, w); see `size_after`."""
        height, width = self.size_after((x.shape[-2], x.shape[-1]))
        rows, inside = _places(x.shape[-2], height, draws["height"], draws["top"])
        columns, across = _places(x.shape[-1], width, draws["width"], draws["left"])
        n, c = x.shape[:2]
        y = x.gather(2, rows[:, None, :, None].expand(n, c, height, x.shape[-1]))
        y = y.gather(3, columns[:, None, None, :].expand(n, c, height, width))
        return torch.where((inside[:, :, None] & across[:, None, :])[:, None], y, self.fill)


def _scaled(length: int, side: Side, size: Size) -> Side:
    """Return a side of an image of `size` when the shorter one becomes `side`, in pixels, rounded down."""
    return length * side // min(size)


def _places(source: int, whole: int, length: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pixel of a side of `source` pixels is at each of `whole` places, and which are no padding, (n, whole).

    The side is resized to `length` pixels (n,), of which the first is at `start` (n,).
    """
    place = torch.arange(whole, device=length.device) - start[:, None]
    inside = (place >= 0) & (place < length[:, None])
    return torch.where(inside, place * source // length[:, None], 0), inside
