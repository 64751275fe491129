"""Define what a transform is, and the letters for shapes that all modules use.

n       images of a batch, or draws of a stack (images x EOT draws)
c, h, w channels, height, width; an image is (3, h, w), RGB, float in [0, 1]
k       transforms of one barrage
keys    (n,) int64, see `bart.rng`
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, cat

from bart import dispatch, surroundings
from bart.autograd import clip

Size = tuple[int, int]
"""Height and width of an image, in pixels."""

Params = dict[str, Tensor]
"""A transform's parameters by name, each with leading dimension n. They hold no pixels."""

Settings = dict[str, Any]
"""What was drawn for one image, by name, as plain values: numbers, words, lists of them."""

REFERENCE = 256
"""The image side, in pixels, for which the article states its ranges."""


class Gradient(StrEnum):
    """Describe what autograd computes through `Transform.apply`."""

    EXACT = "exact"
    """The derivative of the function itself, given its parameters."""
    SURROGATE = "surrogate"
    """A substitute inside `apply`: straight-through rounding, an unrolled solver, the selected pixel."""
    NONE = "none"
    """No derivative: `apply` detaches, and the attack needs BPDA (`bart.bpda.policies`)."""


@dataclass(frozen=True)
class Transform:
    """Describe one of the 25 transforms: `draw` makes parameters without seeing pixels, `apply` is a pure function of both.

    draw(keys, size) -> params    keys (n,) int64; params on the device of `keys`; any size from one pixel up
    apply(x, params) -> y         x and y (n, 3, h, w) in [0, 1]; no wait for the device, no image depends on another
    eager                         the definition in PyTorch, on any device and for any floating type; y may leave [0, 1]
    """

    name: str
    group: str
    draw: Callable[[Tensor, Size], Params]
    eager: Callable[[Tensor, Params], Tensor]
    gradient: Gradient
    maxima: Mapping[str, float] = field(default_factory=dict)
    """The upper end of each parameter's range, in the order of P(t).

    A parameter without an entry (a seed) is not part of P(t).
    """
    scaled: frozenset[str] = frozenset()
    """The parameters in pixels, whose range grows with size / 256."""
    version: int = 1
    """Of the definition, from 1. A change that changes images takes the next: then cells that use it have another identity."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the values of a parameter mean that is an index: for people, who read them."""

    def apply(self, x: Tensor, params: Params) -> Tensor:
        """Return the transformed images (n, 3, h, w), clipped to [0, 1] with derivative 1 at both ends."""
        return clip(self.unclipped(x, params))

    def unclipped(self, x: Tensor, params: Params) -> Tensor:
        """Return the images (n, 3, h, w) as the transform leaves them, which may be outside [0, 1]: for a barrage, which clips
        whole stacks, and for what has to imitate the transform.

        A kernel of `bart.dispatch` computes them if one runs here, else `eager`. Both compute the same function, also under
        autocast, which is for networks.
        """
        with surroundings.no_autocast(x.device):
            return (dispatch.find(self.name, x) or self.eager)(x, params)

    def settings(self, params: Params) -> Settings:
        """Return the parameters of the first image as plain values, in the order of P(t), floats to six digits."""
        return {name: _plain(params[name][0].tolist(), self.words.get(name)) for name in self.maxima}

    def conditioning(self, params: Params, size: Size) -> Tensor:
        """Return P(t), (n, |P|) in [0, 1]: each parameter divided by its range's maximum (article, section 4 and figure 3)."""
        columns = []
        for name, maximum in self.maxima.items():
            top = maximum * max(size) / REFERENCE if name in self.scaled else maximum
            columns.append((params[name].float() / top).clamp(0, 1).reshape(len(params[name]), -1))
        return cat(columns, dim=1)


def _plain(value: Any, words: tuple[str, ...] | None) -> Any:
    """Return a number of a parameter, or each of a list of them, as a person reads it."""
    if isinstance(value, list):
        return [_plain(one, words) for one in value]
    if words:
        return words[value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def apart(params: Params) -> Params:
    """Return parameters by which a transform treats each channel by itself: a grey image has nothing to mix across channels."""
    flags = {"per_channel": True, "ycbcr": False}
    return params | {name: torch.full_like(params[name], flag) for name, flag in flags.items() if name in params}


def checked(x: Tensor) -> Tensor:
    """Return `x` if it can be a batch of images, (n, 3, h, w) or (n, 1, h, w), floats in [0, 1]. Raises ValueError if not.

    Reads every pixel, so call it once where images enter, never inside a loop.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"images of shape {tuple(x.shape)}: expected (n, 3, height, width), or 1 if grey: unsqueeze one image")
    if 0 in x.shape[2:]:
        raise ValueError(f"images of {x.shape[2]} x {x.shape[3]} pixels: expected at least 1 x 1; leave empty images out")
    if not x.is_floating_point():
        raise ValueError(f"images of type {x.dtype}: expected floats in [0, 1]; use x.float() / 255 for 8-bit images")
    low, high = (float(end) for end in x.aminmax()) if x.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images from {low:g} to {high:g}: expected values in [0, 1]: divide 8-bit by 255, remove NaN")
    return x


def pixels(value: float, side: int, most: int | None = None) -> int:
    """Scale a range end that is stated for 256 px to an image side of `side` px.

    Returns at least 1 and at most `most`, which may be 0: what an image of this side has to lose.
    """
    scaled = max(1, round(value * side / REFERENCE))
    return scaled if most is None else min(scaled, max(most, 0))
