"""Add a small offset in HSV, XYZ, LAB or YUV. Group 7, colour space; exact gradients.

An offset is signed, but P(t) is in [0, 1]. So the parameter is the `position` (n, 3) of each channel's offset in its range, 0
the lower end and 1 the upper: offset = (2 position - 1) reach. Source of the conversions: `skimage.color`.
"""

from collections.abc import Callable

from torch import Tensor

from bart import rng
from bart.autograd import clip
from bart.cpu_kernels.clip import fits
from bart.transforms.color import (
    WHITE,
    XYZ_FROM_RGB,
    YUV_FROM_RGB,
    Rows,
    constant,
    from_light,
    hsv_to_rgb,
    lab_to_rgb,
    per_channel,
    rgb_to_hsv,
    rgb_to_lab,
    rgb_to_xyz,
    rgb_to_yuv,
    to_light,
    to_roots,
    xyz_to_rgb,
    yuv_to_rgb,
)
from bart.types import Gradient, Params, Size, Transform

GROUP = "color space"

Bounds = tuple[float, float, float]
"""One bound for each channel."""
FREE = float("inf")
"""The bound of a channel that is not clipped."""

HSV_REACH, XYZ_REACH, LAB_REACH, YUV_REACH = (0.05, 0.25, 0.25), (0.05, 0.05, 0.05), (5.0, 2.0, 2.0), (0.05, 0.02, 0.02)
"""The largest offset of each channel, in the units of its space."""


def draw(keys: Tensor, size: Size) -> Params:
    """Return `position` (n, 3) in 0..1, one key an image."""
    return {"position": rng.uniform(keys, "position", shape=(3,))}


def _offsets(x: Tensor, params: Params, reach: Bounds) -> Tensor:
    """Return the offset of each channel, (n, 3)."""
    return (2 * params["position"].to(x.dtype) - 1) * constant(reach, False, x.device, x.dtype)


def _shift(x: Tensor, params: Params, reach: Bounds, low: Bounds, high: Bounds) -> Tensor:
    """Add the offsets and clip each channel to its bounds."""
    return clip(x + _offsets(x, params, reach)[:, :, None, None], per_channel(low, x), per_channel(high, x))


def _mixed(x: Tensor, params: Params, rows: Rows, reach: Bounds, low: Bounds, high: Bounds) -> Tensor:
    """Do the same by compiled loops, between a multiplication by a matrix and one by its inverse."""
    from bart.cpu_kernels.colours import Mixed

    forth, back, bounds = (constant(*which, x.device, x.dtype) for which in ((rows, False), (rows, True), ((low, high), False)))
    shifted: Tensor = Mixed.apply(x, _offsets(x, params, reach), forth, back, bounds)
    return shifted


def apply_hsv(x: Tensor, params: Params) -> Tensor:
    """Add offsets of up to +-.05, +-.25 and +-.25 in HSV and clip all of it to [0, 1]. The hue does not wrap."""
    if fits(x):
        from bart.cpu_kernels.colours import Hsv

        fast: Tensor = Hsv.apply(x, _offsets(x, params, HSV_REACH))
        return fast
    return hsv_to_rgb(_shift(rgb_to_hsv(x), params, HSV_REACH, (0.0,) * 3, (1.0,) * 3))


def apply_xyz(x: Tensor, params: Params) -> Tensor:
    """Add offsets of up to +-.05 in XYZ and clip all of it to [0, 1]."""
    if fits(x):
        return clip(from_light(_mixed(to_light(x), params, XYZ_FROM_RGB, XYZ_REACH, (0.0,) * 3, (1.0,) * 3)))
    return xyz_to_rgb(_shift(rgb_to_xyz(x), params, XYZ_REACH, (0.0,) * 3, (1.0,) * 3))


def apply_lab(x: Tensor, params: Params) -> Tensor:
    """Add offsets of up to +-5 (L) and +-2 (a, b) in LAB and clip L to [0, 100]."""
    if fits(x):
        from bart.cpu_kernels.colours import Lab

        white = constant(WHITE, False, x.device, x.dtype)
        xyz: Tensor = Lab.apply(to_roots(x), _offsets(x, params, LAB_REACH), white)
        return xyz_to_rgb(xyz)
    return lab_to_rgb(_shift(rgb_to_lab(x), params, LAB_REACH, (0.0, -FREE, -FREE), (100.0, FREE, FREE)))


def apply_yuv(x: Tensor, params: Params) -> Tensor:
    """Add offsets of up to +-.05 (Y) and +-.02 (U, V) in YUV and clip Y to [0, 1]."""
    if fits(x):
        return _mixed(x, params, YUV_FROM_RGB, YUV_REACH, (0.0, -FREE, -FREE), (1.0, FREE, FREE))
    return yuv_to_rgb(_shift(rgb_to_yuv(x), params, YUV_REACH, (0.0, -FREE, -FREE), (1.0, FREE, FREE)))


def _transform(name: str, apply: Callable[[Tensor, Params], Tensor]) -> Transform:
    """Return the transform of one space."""
    return Transform(name, GROUP, draw, apply, Gradient.EXACT, {"position": 1})


HSV = _transform("hsv", apply_hsv)
XYZ = _transform("xyz", apply_xyz)
LAB = _transform("lab", apply_lab)
YUV = _transform("yuv", apply_yuv)
