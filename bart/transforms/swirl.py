"""Turn the image about a point, most of all at that point. Group 3, swirl; linear in the image, exact gradient."""

import math

import torch
from torch import Tensor

from bart import rng
from bart.transforms.zoom import bilinear
from bart.types import Gradient, Params, Size, Transform, pixels


def draw(keys: Tensor, size: Size) -> Params:
    """Return the parameters of images of `size`, one key an image.

    strength    (n,) in 0.01..2, radians at the centre
    center      (n, 2) int, (x, y) in pixels: 1..256 for 256 px; x scales with the width, y with the height
    radius      (n,) int, pixels: 10..200 for 256 px, scales with the longer side
    """
    height, width = size
    x = rng.integers(keys, "x", pixels(1, width), pixels(256, width))
    y = rng.integers(keys, "y", pixels(1, height), pixels(256, height))
    longer = max(size)
    return {
        "strength": rng.uniform(keys, "strength", 0.01, 2.0),
        "center": torch.stack([x, y], dim=1),
        "radius": rng.integers(keys, "radius", pixels(10, longer), pixels(200, longer)),
    }


def apply(x: Tensor, params: Params) -> Tensor:
    """Give a pixel at distance d the value from strength * exp(-d / decay) radians further round. x (n, 3, h, w).

    Source: `skimage.transform.swirl`, with its defaults (mode "reflect", order 1).
    """
    height, width = x.shape[-2:]
    strength, radius, center = (params[k].to(x.dtype)[..., None, None] for k in ("strength", "radius", "center"))
    across = torch.arange(width, device=x.device, dtype=x.dtype) - center[:, 0]
    down = torch.arange(height, device=x.device, dtype=x.dtype)[:, None] - center[:, 1]
    decay = radius * (math.log(2) / 5)  # scikit-image: about a thousandth is left at the radius
    angle = strength * torch.exp(-torch.hypot(across, down) / decay)
    cos, sin = angle.cos(), angle.sin()
    return bilinear(x, center[:, 0] + across * cos - down * sin, center[:, 1] + across * sin + down * cos)


SWIRL = Transform(
    "swirl",
    "swirl",
    draw,
    apply,
    Gradient.EXACT,
    {"strength": 2, "center": 256, "radius": 200},
    frozenset({"center", "radius"}),
)
