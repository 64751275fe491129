"""Group 3, swirl: the image is turned about a point, most of all at that point. Linear in the image: exact gradient."""

import math

import torch
from torch import Tensor

from bart import rng
from bart.transforms.zoom import bilinear
from bart.types import Gradient, Params, Size, Transform, pixels


def draw(keys: Tensor, size: Size) -> Params:
    """`strength` (n,) in 0.01..2, radians at the centre; `center` (n, 2) int, (x, y) pixel; `radius` (n,) int, pixels.

    For 256 px the centre lies in 1..256 and the radius in 10..200. x scales with the width, y with the height and the
    radius with the longer side.
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
    """A pixel at distance d takes what lies strength * exp(-d / decay) radians further round.

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
