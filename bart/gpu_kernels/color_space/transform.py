"""Add an offset in HSV, XYZ, LAB or YUV, pixel by pixel, for images in [0, 1]; constants as in `bart.transforms.color`.

A program takes a block of pixels of one image: it enters the space, adds the offset, clips and leaves the space. It stores no
intermediate values. The backward pass enters the space again from the image and applies the chain rule to each step. Its
derivatives are those of autograd for the eager functions: 1 at both ends of a clip, halves where two channels are both the
largest or the smallest, 0 for the hue and the saturation of a grey pixel.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.color_space.hsv import hsv_to_rgb, hsv_to_rgb_backward, rgb_to_hsv, rgb_to_hsv_backward
from bart.gpu_kernels.color_space.scalar import clip, in_range, inverse_rows, product, transposed_product
from bart.gpu_kernels.color_space.xyz_lab import (
    lab_to_rgb,
    lab_to_rgb_backward,
    rgb_to_lab,
    rgb_to_lab_backward,
    rgb_to_xyz,
    rgb_to_xyz_backward,
    xyz_to_rgb,
    xyz_to_rgb_backward,
)
from bart.gpu_kernels.pointwise import launch_pixels, load_channels, pixels, store_channels
from bart.transforms import color
from bart.transforms import color_space as eager

_YUV_FROM_RGB, _RGB_FROM_YUV = tl.constexpr(color.YUV_FROM_RGB), tl.constexpr(inverse_rows(color.YUV_FROM_RGB))
_HSV_REACH, _XYZ_REACH = tl.constexpr(eager.HSV_REACH), tl.constexpr(eager.XYZ_REACH)
_LAB_REACH, _YUV_REACH = tl.constexpr(eager.LAB_REACH), tl.constexpr(eager.YUV_REACH)


@triton.jit
def _enter(red, green, blue, SPACE: tl.constexpr):
    """Convert RGB to a space."""
    if SPACE == "hsv":
        return rgb_to_hsv(red, green, blue)
    elif SPACE == "xyz":
        return rgb_to_xyz(red, green, blue)
    elif SPACE == "lab":
        return rgb_to_lab(red, green, blue)
    else:
        tl.static_assert(SPACE == "yuv")
        return product(red, green, blue, _YUV_FROM_RGB)


@triton.jit
def _enter_backward(red, green, blue, g_0, g_1, g_2, SPACE: tl.constexpr):
    """Return the gradient of RGB from that of a space."""
    if SPACE == "hsv":
        return rgb_to_hsv_backward(red, green, blue, g_0, g_1, g_2)
    elif SPACE == "xyz":
        return rgb_to_xyz_backward(red, green, blue, g_0, g_1, g_2)
    elif SPACE == "lab":
        return rgb_to_lab_backward(red, green, blue, g_0, g_1, g_2)
    else:
        return transposed_product(g_0, g_1, g_2, _YUV_FROM_RGB)


@triton.jit
def _leave(a, b, c, SPACE: tl.constexpr):
    """Convert a space to RGB."""
    if SPACE == "hsv":
        return hsv_to_rgb(a, b, c)
    elif SPACE == "xyz":
        return xyz_to_rgb(a, b, c)
    elif SPACE == "lab":
        return lab_to_rgb(a, b, c)
    else:
        return product(a, b, c, _RGB_FROM_YUV)


@triton.jit
def _leave_backward(a, b, c, g_0, g_1, g_2, SPACE: tl.constexpr):
    """Return the gradient of a space from that of RGB."""
    if SPACE == "hsv":
        return hsv_to_rgb_backward(a, b, c, g_0, g_1, g_2)
    elif SPACE == "xyz":
        return xyz_to_rgb_backward(a, b, c, g_0, g_1, g_2)
    elif SPACE == "lab":
        return lab_to_rgb_backward(a, b, c, g_0, g_1, g_2)
    else:
        return transposed_product(g_0, g_1, g_2, _RGB_FROM_YUV)


@triton.jit
def _offset(positions, image, channel, SPACE: tl.constexpr):
    """Return the offset of a channel from its position in 0..1."""
    position = tl.load(positions + image * 3 + channel) * 2.0 - 1.0
    if SPACE == "hsv":
        return position * _HSV_REACH[channel]
    elif SPACE == "xyz":
        return position * _XYZ_REACH[channel]
    elif SPACE == "lab":
        return position * _LAB_REACH[channel]
    else:
        return position * _YUV_REACH[channel]


@triton.jit
def _shifted(red, green, blue, positions, image, SPACE: tl.constexpr):
    """Return the pixel in its space with the offset, before the clip."""
    a, b, c = _enter(red, green, blue, SPACE)
    a += _offset(positions, image, 0, SPACE)
    b += _offset(positions, image, 1, SPACE)
    c += _offset(positions, image, 2, SPACE)
    return a, b, c


@triton.jit
def _forward_kernel(x, positions, out, size, SPACE: tl.constexpr, HIGH: tl.constexpr, ALL: tl.constexpr, BLOCK: tl.constexpr):
    """Shift a block of pixels. The first channel of the space is clipped to [0, HIGH], and the others too if ALL."""
    image, here, valid = pixels(size, BLOCK)
    red, green, blue = load_channels(x, here, size, valid)
    a, b, c = _shifted(red, green, blue, positions, image, SPACE)
    a = clip(a, HIGH)
    if ALL:
        b, c = clip(b, HIGH), clip(c, HIGH)
    red, green, blue = _leave(a, b, c, SPACE)
    store_channels(out, here, size, valid, red, green, blue)


@triton.jit
def _backward_kernel(
    x, gradient, positions, out, size, SPACE: tl.constexpr, HIGH: tl.constexpr, ALL: tl.constexpr, BLOCK: tl.constexpr
):
    """Return the gradient of a block of pixels."""
    image, here, valid = pixels(size, BLOCK)
    red, green, blue = load_channels(x, here, size, valid)
    g_0, g_1, g_2 = load_channels(gradient, here, size, valid)  # gradients of the pixels, later of the space
    a, b, c = _shifted(red, green, blue, positions, image, SPACE)
    if ALL:
        g_0, g_1, g_2 = _leave_backward(clip(a, HIGH), clip(b, HIGH), clip(c, HIGH), g_0, g_1, g_2, SPACE)
        g_1, g_2 = tl.where(in_range(b, HIGH), g_1, 0.0), tl.where(in_range(c, HIGH), g_2, 0.0)
    else:
        g_0, g_1, g_2 = _leave_backward(clip(a, HIGH), b, c, g_0, g_1, g_2, SPACE)
    g_0 = tl.where(in_range(a, HIGH), g_0, 0.0)
    red, green, blue = _enter_backward(red, green, blue, g_0, g_1, g_2, SPACE)
    store_channels(out, here, size, valid, red, green, blue)


CLIPS = {"hsv": (1.0, True), "xyz": (1.0, True), "lab": (100.0, False), "yuv": (1.0, False)}
"""HIGH and ALL of each space."""


class _ColorSpace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, positions: Tensor, space: str) -> Tensor:
        high, everything = CLIPS[space]
        ctx.space = space
        ctx.save_for_backward(x, positions)
        return launch_pixels(_forward_kernel, x, positions, SPACE=space, HIGH=high, ALL=everything)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        high, everything = CLIPS[ctx.space]
        x, positions = ctx.saved_tensors
        out = launch_pixels(_backward_kernel, x, gradient.contiguous(), positions, SPACE=ctx.space, HIGH=high, ALL=everything)
        return out, None, None


def hsv(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Add offsets in HSV and clip all of it to [0, 1]. The hue does not wrap."""
    return _ColorSpace.apply(x, params["position"], "hsv")


def xyz(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Add offsets in XYZ and clip all of it to [0, 1]."""
    return _ColorSpace.apply(x, params["position"], "xyz")


def lab(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Add offsets in LAB and clip L to [0, 100]."""
    return _ColorSpace.apply(x, params["position"], "lab")


def yuv(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Add offsets in YUV and clip Y to [0, 1]."""
    return _ColorSpace.apply(x, params["position"], "yuv")
