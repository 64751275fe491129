"""Add an offset in HSV, XYZ, LAB or YUV, pixel by pixel, for images in [0, 1]; constants as in `bart.transforms.color`.

The pixel enters the space, gets the offset, is clipped and leaves the space. The backward pass enters the space again from the
image and applies the chain rule to each step. Its derivatives are those of autograd for the eager functions: 1 at both ends of
a clip, halves where two channels are both the largest or the smallest, 0 for the hue and the saturation of a grey pixel.
"""

import triton
import triton.language as tl

from bart.gpu_kernels.pointwise.color_space.hsv import hsv_to_rgb, hsv_to_rgb_backward, rgb_to_hsv, rgb_to_hsv_backward
from bart.gpu_kernels.pointwise.color_space.scalar import clip, in_range, inverse_rows, product, transposed_product
from bart.gpu_kernels.pointwise.color_space.xyz_lab import (
    lab_to_rgb,
    lab_to_rgb_backward,
    rgb_to_lab,
    rgb_to_lab_backward,
    rgb_to_xyz,
    rgb_to_xyz_backward,
    xyz_to_rgb,
    xyz_to_rgb_backward,
)
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
def _offset(position, channel, SPACE: tl.constexpr):
    """Return the offset of a channel from its position in 0..1."""
    position = position * 2.0 - 1.0
    if SPACE == "hsv":
        return position * _HSV_REACH[channel]
    elif SPACE == "xyz":
        return position * _XYZ_REACH[channel]
    elif SPACE == "lab":
        return position * _LAB_REACH[channel]
    else:
        return position * _YUV_REACH[channel]


@triton.jit
def _offset_of_pixel(red, green, blue, position_0, position_1, position_2, SPACE: tl.constexpr):
    """Return the pixel in its space with the offset, before the clip."""
    a, b, c = _enter(red, green, blue, SPACE)
    a += _offset(position_0, 0, SPACE)
    b += _offset(position_1, 1, SPACE)
    c += _offset(position_2, 2, SPACE)
    return a, b, c


@triton.jit
def _clipped(a, b, c, SPACE: tl.constexpr):
    """Clip HSV and XYZ to [0, 1], L to [0, 100], Y to [0, 1]."""
    a = clip(a, 100.0 if SPACE == "lab" else 1.0)
    if (SPACE == "hsv") | (SPACE == "xyz"):
        b, c = clip(b, 1.0), clip(c, 1.0)
    return a, b, c


@triton.jit
def shifted(red, green, blue, position_0, position_1, position_2, SPACE: tl.constexpr):
    """Return pixels after an offset in a space, from its positions in 0..1."""
    a, b, c = _offset_of_pixel(red, green, blue, position_0, position_1, position_2, SPACE)
    a, b, c = _clipped(a, b, c, SPACE)
    return _leave(a, b, c, SPACE)


@triton.jit
def shifted_backward(red, green, blue, g_0, g_1, g_2, position_0, position_1, position_2, SPACE: tl.constexpr):
    """Return the gradient of `shifted` in red, green and blue, from that of its result."""
    a, b, c = _offset_of_pixel(red, green, blue, position_0, position_1, position_2, SPACE)
    clipped_a, clipped_b, clipped_c = _clipped(a, b, c, SPACE)
    g_0, g_1, g_2 = _leave_backward(clipped_a, clipped_b, clipped_c, g_0, g_1, g_2, SPACE)
    g_0 = tl.where(in_range(a, 100.0 if SPACE == "lab" else 1.0), g_0, 0.0)
    if (SPACE == "hsv") | (SPACE == "xyz"):
        g_1, g_2 = tl.where(in_range(b, 1.0), g_1, 0.0), tl.where(in_range(c, 1.0), g_2, 0.0)
    return _enter_backward(red, green, blue, g_0, g_1, g_2, SPACE)
