"""Reduce the number of grey levels per channel. Group 1, colour precision."""

import torch
from torch import Tensor

from bart import rng
from bart.autograd import straight_through
from bart.cpu_kernels.clip import fits
from bart.types import Gradient, Params, Size, Transform


def draw(keys: Tensor, size: Size) -> Params:
    """Return `scale` (n, 3) int in 8..200, one key an image; a shared coin gives the three channels one value."""
    scale = rng.integers(keys, "scale", 8, 200, (3,))
    return {"scale": torch.where(rng.coin(keys, "shared")[:, None], scale[:, :1], scale)}


def apply(x: Tensor, params: Params) -> Tensor:
    """Return round(x s) / s for x (n, 3, h, w); straight-through in the backward pass."""
    scale = params["scale"].to(x.dtype)
    if fits(x):
        from bart.cpu_kernels.colours import rounded

        return straight_through(x, rounded(x, scale))
    scale = scale[:, :, None, None]
    return straight_through(x, (x.detach() * scale).round() / scale)


COLOR_PRECISION = Transform("color_precision", "color precision", draw, apply, Gradient.SURROGATE, {"scale": 200})
