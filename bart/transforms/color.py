"""Convert batches of images (n, 3, h, w) between colour spaces, differentiably, with scikit-image's constants and conventions.

RGB is sRGB in [0, 1]. HSV is in [0, 1], hue in turns. XYZ and LAB are for D65 and the 2 degree observer; L is in [0, 100]. YUV
is analogue PAL. Gradients are finite everywhere, even where the function has none (black and grey in HSV, negative light).
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bart.autograd import clip
from bart.cpu_kernels.clip import fits

Rows = tuple[tuple[float, float, float], ...]
"""The rows of a 3 x 3 matrix."""

XYZ_FROM_RGB: Rows = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
YUV_FROM_RGB: Rows = (
    (0.299, 0.587, 0.114),
    (-0.14714119, -0.28886916, 0.43601035),
    (0.61497538, -0.51496512, -0.10001026),
)
WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of the reference white, D65, 2 degree observer."""

GREY = 1e-6
"""A pixel has no hue if its largest minus its smallest channel is below this: finer than float32 images, far below 8 bits."""


@lru_cache(maxsize=128)
def constant(values: tuple[float, ...] | Rows, inverse: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a constant on a device, copied there once; a matrix may be inverted."""
    with torch.inference_mode(False):  # autograd refuses tensors that were made in inference mode
        table = torch.tensor(values, dtype=torch.double)
        return (torch.linalg.inv(table) if inverse else table).to(device, dtype)


def mix(x: Tensor, rows: Rows, inverse: bool = False) -> Tensor:
    """Multiply each pixel's three channels by a matrix, or by its inverse."""
    matrix = constant(rows, inverse, x.device, x.dtype).expand(len(x), 3, 3)
    return torch.bmm(matrix, x.flatten(2)).view(x.shape)


def per_channel(values: tuple[float, ...], x: Tensor) -> Tensor:
    """Return three numbers as (3, 1, 1), on the device and in the type of `x`."""
    return constant(values, False, x.device, x.dtype)[:, None, None]


def rgb_to_hsv(x: Tensor) -> Tensor:
    """Convert RGB to HSV. A grey pixel has hue 0 and saturation 0."""
    red, green, blue = x.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    coloured = chroma > GREY
    divisor = torch.where(coloured, chroma, 1)
    sector = torch.where(green == value, 2 + (blue - red) / divisor, torch.remainder((green - blue) / divisor, 6))
    sector = torch.where(blue == value, 4 + (red - green) / divisor, sector)
    hue = torch.where(coloured, sector / 6, 0)
    saturation = torch.where(coloured, chroma / value.clamp_min(GREY), 0)
    return torch.stack([hue, saturation, value], dim=1)


def hsv_to_rgb(x: Tensor) -> Tensor:
    """Convert HSV to RGB, for hue, saturation and value in [0, 1]."""
    hue, saturation, value = x.unbind(1)
    hue = hue * 6
    red = (hue - 3).abs() - 1
    green = 2 - (hue - 2).abs()
    blue = 2 - (hue - 4).abs()
    pure = clip(torch.stack([red, green, blue], dim=1))
    return value[:, None] * (1 - saturation[:, None] * (1 - pure))


def rgb_to_xyz(x: Tensor) -> Tensor:
    """Convert RGB to XYZ through linear light."""
    return mix(_curved(x, _TO_LIGHT), XYZ_FROM_RGB)


def xyz_to_rgb(x: Tensor) -> Tensor:
    """Convert XYZ to RGB, clipped to [0, 1]: not every XYZ is a colour of sRGB."""
    return clip(_curved(mix(x, XYZ_FROM_RGB, inverse=True), _FROM_LIGHT))


def rgb_to_lab(x: Tensor) -> Tensor:
    """Convert RGB to LAB: L in [0, 100]; a and b around 0, within about 110."""
    x, y, z = _curved(rgb_to_xyz(x) / per_channel(WHITE, x), _TO_ROOTS).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(x: Tensor) -> Tensor:
    """Convert LAB to RGB, clipped to [0, 1]; a z below 0 counts as 0."""
    light, a, b = x.unbind(1)
    y = (light + 16) / 116
    roots = torch.stack([a / 500 + y, y, (y - b / 200).clamp_min(0)], dim=1)
    xyz = torch.where(roots > 0.2068966, roots * roots * roots, (roots - 16 / 116) / 7.787)
    return xyz_to_rgb(xyz * per_channel(WHITE, x))


def rgb_to_yuv(x: Tensor) -> Tensor:
    """Convert RGB to YUV, a linear map of the encoded values."""
    return mix(x, YUV_FROM_RGB)


def yuv_to_rgb(x: Tensor) -> Tensor:
    """Convert YUV to RGB, linear and not clipped."""
    return mix(x, YUV_FROM_RGB, inverse=True)


class _Curve(NamedTuple):
    """Describe y = scale ((x + before) / divisor) ** exponent + after for x > limit, else x slope / fall + start."""

    limit: float
    exponent: float
    before: float = 0.0
    divisor: float = 1.0
    scale: float = 1.0
    after: float = 0.0
    slope: float = 1.0
    fall: float = 1.0
    start: float = 0.0


_TO_LIGHT = _Curve(0.04045, 2.4, before=0.055, divisor=1.055, fall=12.92)
"""From sRGB to linear light."""
_FROM_LIGHT = _Curve(0.0031308, 1 / 2.4, scale=1.055, after=-0.055, slope=12.92)
"""From linear light to sRGB."""
_TO_ROOTS = _Curve(0.008856, 1 / 3, slope=7.787, start=16 / 116)
"""From XYZ over the white's to what LAB is made of."""


def _curved(x: Tensor, curve: _Curve) -> Tensor:
    """Return the curve of `x`. Both branches are computed, so the curved one gets only values where it has a derivative.

    The derivative of exp(log) needs no second power, unlike that of `pow`.
    """
    if fits(x):
        from bart.cpu_kernels.powers import Power

        fast: Tensor = Power.apply(x, curve)
        return fast
    power = (((x.clamp_min(curve.limit) + curve.before) / curve.divisor).log() * curve.exponent).exp()
    return torch.where(x > curve.limit, power * curve.scale + curve.after, x * curve.slope / curve.fall + curve.start)
