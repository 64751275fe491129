"""Convert between RGB, XYZ and LAB, with the derivatives. White is D65, the observer that of 2 degrees; L in [0, 100]."""

import triton
import triton.language as tl

from bart.gpu_kernels.pointwise.color_space.scalar import (
    clip,
    cube,
    encoded,
    in_range,
    inverse_rows,
    linear,
    product,
    root,
    transposed_product,
)
from bart.transforms import color

_WHITE = tl.constexpr(color.WHITE)
_XYZ_FROM_RGB, _RGB_FROM_XYZ = tl.constexpr(color.XYZ_FROM_RGB), tl.constexpr(inverse_rows(color.XYZ_FROM_RGB))


@triton.jit
def rgb_to_xyz(red, green, blue):
    """Convert RGB to XYZ."""
    return product(linear(red)[0], linear(green)[0], linear(blue)[0], _XYZ_FROM_RGB)


@triton.jit
def rgb_to_xyz_backward(red, green, blue, g_x, g_y, g_z):
    """Return the gradient of RGB from that of XYZ."""
    g_red, g_green, g_blue = transposed_product(g_x, g_y, g_z, _XYZ_FROM_RGB)
    return g_red * linear(red)[1], g_green * linear(green)[1], g_blue * linear(blue)[1]


@triton.jit
def xyz_to_rgb(x, y, z):
    """Convert XYZ to RGB, clipped to [0, 1]."""
    red, green, blue = product(x, y, z, _RGB_FROM_XYZ)
    return clip(encoded(red)[0], 1.0), clip(encoded(green)[0], 1.0), clip(encoded(blue)[0], 1.0)


@triton.jit
def _encoded_backward(light, g):
    """Return the gradient of linear light from that of a clipped sRGB channel."""
    value, slope = encoded(light)
    return tl.where(in_range(value, 1.0), g * slope, 0.0)


@triton.jit
def xyz_to_rgb_backward(x, y, z, g_red, g_green, g_blue):
    """Return the gradient of XYZ from that of RGB."""
    red, green, blue = product(x, y, z, _RGB_FROM_XYZ)
    g_red, g_green, g_blue = _encoded_backward(red, g_red), _encoded_backward(green, g_green), _encoded_backward(blue, g_blue)
    return transposed_product(g_red, g_green, g_blue, _RGB_FROM_XYZ)


@triton.jit
def _white(x, y, z):
    """Divide XYZ by that of the white."""
    return x * (1 / _WHITE[0]), y * (1 / _WHITE[1]), z * (1 / _WHITE[2])


@triton.jit
def rgb_to_lab(red, green, blue):
    """Convert RGB to LAB."""
    x, y, z = rgb_to_xyz(red, green, blue)
    x, y, z = _white(x, y, z)
    x, y, z = root(x)[0], root(y)[0], root(z)[0]
    return y * 116.0 - 16.0, (x - y) * 500.0, (y - z) * 200.0


@triton.jit
def rgb_to_lab_backward(red, green, blue, g_light, g_a, g_b):
    """Return the gradient of RGB from that of LAB."""
    x, y, z = rgb_to_xyz(red, green, blue)
    x, y, z = _white(x, y, z)
    g_x = g_a * 500.0 * root(x)[1]
    g_y = (g_light * 116.0 - g_a * 500.0 + g_b * 200.0) * root(y)[1]
    g_z = g_b * -200.0 * root(z)[1]
    g_x, g_y, g_z = _white(g_x, g_y, g_z)
    return rgb_to_xyz_backward(red, green, blue, g_x, g_y, g_z)


@triton.jit
def _roots(light, a, b):
    """Return the cube roots of XYZ relative to the white. Those of a pixel are at least 16 / 116, and no offset makes one 0."""
    y = (light + 16.0) * (1 / 116)
    return a * (1 / 500) + y, y, y - b * (1 / 200)


@triton.jit
def lab_to_rgb(light, a, b):
    """Convert LAB to RGB, clipped to [0, 1]."""
    x, y, z = _roots(light, a, b)
    x, y, z = cube(x)[0], cube(y)[0], cube(z)[0]
    return xyz_to_rgb(x * _WHITE[0], y * _WHITE[1], z * _WHITE[2])


@triton.jit
def lab_to_rgb_backward(light, a, b, g_red, g_green, g_blue):
    """Return the gradient of LAB from that of RGB."""
    x, y, z = _roots(light, a, b)
    x, slope_x = cube(x)
    y, slope_y = cube(y)
    z, slope_z = cube(z)
    g_x, g_y, g_z = xyz_to_rgb_backward(x * _WHITE[0], y * _WHITE[1], z * _WHITE[2], g_red, g_green, g_blue)
    g_x, g_y, g_z = g_x * _WHITE[0] * slope_x, g_y * _WHITE[1] * slope_y, g_z * _WHITE[2] * slope_z
    return (g_x + g_y + g_z) * (1 / 116), g_x * (1 / 500), g_z * (-1 / 200)
