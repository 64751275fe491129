"""An offset in HSV, XYZ, LAB or YUV, pixel by pixel, for images in [0, 1], with the constants of `bart.transforms.color`.

A program takes a block of pixels of one image: it enters the space, adds the offset, clips and leaves the space, and stores
nothing in between. Its backward pass enters the space again from the image and applies the chain rule to each step, with
the derivatives that autograd gives to the eager functions: 1 at both ends of a clip, halves where two channels are both the
largest or the smallest, 0 for a hue and a saturation that a grey pixel does not have.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.pointwise import launch_pixels, load_channels, pixels, store_channels
from bart.transforms import color
from bart.transforms import color_space as eager


def _inverse(rows: color.Rows) -> color.Rows:
    first, second, third = color.constant(rows, True, torch.device("cpu"), torch.double).tolist()
    return first, second, third


_GREY, _WHITE = tl.constexpr(color.GREY), tl.constexpr(color.WHITE)
_XYZ_FROM_RGB, _RGB_FROM_XYZ = tl.constexpr(color.XYZ_FROM_RGB), tl.constexpr(_inverse(color.XYZ_FROM_RGB))
_YUV_FROM_RGB, _RGB_FROM_YUV = tl.constexpr(color.YUV_FROM_RGB), tl.constexpr(_inverse(color.YUV_FROM_RGB))
_HSV_REACH, _XYZ_REACH = tl.constexpr(eager.HSV_REACH), tl.constexpr(eager.XYZ_REACH)
_LAB_REACH, _YUV_REACH = tl.constexpr(eager.LAB_REACH), tl.constexpr(eager.YUV_REACH)


@triton.jit
def _product(a, b, c, M: tl.constexpr):
    """M (a, b, c)."""
    first = M[0][0] * a + M[0][1] * b + M[0][2] * c
    second = M[1][0] * a + M[1][1] * b + M[1][2] * c
    third = M[2][0] * a + M[2][1] * b + M[2][2] * c
    return first, second, third


@triton.jit
def _transposed(a, b, c, M: tl.constexpr):
    """(a, b, c) M: what the backward pass does where the forward pass does `_product`."""
    first = M[0][0] * a + M[1][0] * b + M[2][0] * c
    second = M[0][1] * a + M[1][1] * b + M[2][1] * c
    third = M[0][2] * a + M[1][2] * b + M[2][2] * c
    return first, second, third


@triton.jit
def _inside(value, high):
    """Where a clip to [0, high] has derivative 1."""
    return (value >= 0.0) & (value <= high)


@triton.jit
def _clip(value, high):
    return tl.minimum(tl.maximum(value, 0.0), high)


@triton.jit
def _power(x, exponent):
    """x ** exponent for x > 0."""
    return tl.exp2(tl.log2(x) * exponent)


@triton.jit
def _linear(x):
    """sRGB to linear light, and the derivative."""
    base = (tl.maximum(x, 0.04045) + 0.055) * (1 / 1.055)
    bent = x > 0.04045
    return tl.where(bent, _power(base, 2.4), x * (1 / 12.92)), tl.where(bent, _power(base, 1.4) * (2.4 / 1.055), 1 / 12.92)


@triton.jit
def _encoded(x):
    """Linear light to sRGB, and the derivative."""
    base = tl.maximum(x, 0.0031308)
    bent = x > 0.0031308
    value = tl.where(bent, _power(base, 1 / 2.4) * 1.055 - 0.055, x * 12.92)
    return value, tl.where(bent, _power(base, 1 / 2.4 - 1) * (1.055 / 2.4), 12.92)


@triton.jit
def _root(x):
    """LAB's cube root, and the derivative."""
    base = tl.maximum(x, 0.008856)
    bent = x > 0.008856
    value = tl.where(bent, _power(base, 1 / 3), x * 7.787 + 16 / 116)
    return value, tl.where(bent, _power(base, -2 / 3) * (1 / 3), 7.787)


@triton.jit
def _cube(x):
    """The inverse of `_root`, and the derivative."""
    bent = x > 0.2068966
    return tl.where(bent, x * x * x, (x - 16 / 116) * (1 / 7.787)), tl.where(bent, x * x * 3.0, 1 / 7.787)


@triton.jit
def _xyz(red, green, blue):
    """RGB to XYZ."""
    return _product(_linear(red)[0], _linear(green)[0], _linear(blue)[0], _XYZ_FROM_RGB)


@triton.jit
def _xyz_backward(red, green, blue, g_x, g_y, g_z):
    g_red, g_green, g_blue = _transposed(g_x, g_y, g_z, _XYZ_FROM_RGB)
    return g_red * _linear(red)[1], g_green * _linear(green)[1], g_blue * _linear(blue)[1]


@triton.jit
def _from_xyz(x, y, z):
    red, green, blue = _product(x, y, z, _RGB_FROM_XYZ)
    return _clip(_encoded(red)[0], 1.0), _clip(_encoded(green)[0], 1.0), _clip(_encoded(blue)[0], 1.0)


@triton.jit
def _encoded_backward(light, g):
    value, slope = _encoded(light)
    return tl.where(_inside(value, 1.0), g * slope, 0.0)


@triton.jit
def _from_xyz_backward(x, y, z, g_red, g_green, g_blue):
    red, green, blue = _product(x, y, z, _RGB_FROM_XYZ)
    g_red, g_green, g_blue = _encoded_backward(red, g_red), _encoded_backward(green, g_green), _encoded_backward(blue, g_blue)
    return _transposed(g_red, g_green, g_blue, _RGB_FROM_XYZ)


@triton.jit
def _white(x, y, z):
    """XYZ relative to the white."""
    return x * (1 / _WHITE[0]), y * (1 / _WHITE[1]), z * (1 / _WHITE[2])


@triton.jit
def _lab(red, green, blue):
    """RGB to LAB."""
    x, y, z = _xyz(red, green, blue)
    x, y, z = _white(x, y, z)
    x, y, z = _root(x)[0], _root(y)[0], _root(z)[0]
    return y * 116.0 - 16.0, (x - y) * 500.0, (y - z) * 200.0


@triton.jit
def _lab_backward(red, green, blue, g_light, g_a, g_b):
    x, y, z = _xyz(red, green, blue)
    x, y, z = _white(x, y, z)
    g_x = g_a * 500.0 * _root(x)[1]
    g_y = (g_light * 116.0 - g_a * 500.0 + g_b * 200.0) * _root(y)[1]
    g_z = g_b * -200.0 * _root(z)[1]
    g_x, g_y, g_z = _white(g_x, g_y, g_z)
    return _xyz_backward(red, green, blue, g_x, g_y, g_z)


@triton.jit
def _roots(light, a, b):
    """LAB to the cube roots of XYZ relative to the white. Those of a pixel are 16 / 116 at least, and no offset makes one 0."""
    y = (light + 16.0) * (1 / 116)
    return a * (1 / 500) + y, y, y - b * (1 / 200)


@triton.jit
def _from_lab(light, a, b):
    x, y, z = _roots(light, a, b)
    x, y, z = _cube(x)[0], _cube(y)[0], _cube(z)[0]
    return _from_xyz(x * _WHITE[0], y * _WHITE[1], z * _WHITE[2])


@triton.jit
def _from_lab_backward(light, a, b, g_red, g_green, g_blue):
    x, y, z = _roots(light, a, b)
    x, slope_x = _cube(x)
    y, slope_y = _cube(y)
    z, slope_z = _cube(z)
    g_x, g_y, g_z = _from_xyz_backward(x * _WHITE[0], y * _WHITE[1], z * _WHITE[2], g_red, g_green, g_blue)
    g_x, g_y, g_z = g_x * _WHITE[0] * slope_x, g_y * _WHITE[1] * slope_y, g_z * _WHITE[2] * slope_z
    return (g_x + g_y + g_z) * (1 / 116), g_x * (1 / 500), g_z * (-1 / 200)


@triton.jit
def _hexcone(red, green, blue):
    """Value and chroma, and the hue as `base` + `rise` / chroma sixths of a turn; `top` is 0, 1 or 2, the largest channel."""
    value = tl.maximum(tl.maximum(red, green), blue)
    chroma = value - tl.minimum(tl.minimum(red, green), blue)
    top = tl.where(blue == value, 2, tl.where(green == value, 1, 0))
    rise = tl.where(top == 2, red - green, tl.where(top == 1, blue - red, green - blue))
    base = tl.where(top == 2, 4.0, tl.where(top == 1, 2.0, tl.where(rise < 0.0, 6.0, 0.0)))
    return value, chroma, top, base, rise


@triton.jit
def _hsv(red, green, blue):
    """RGB to HSV."""
    value, chroma, _, base, rise = _hexcone(red, green, blue)
    coloured = chroma > _GREY
    hue = (base + rise / tl.where(coloured, chroma, 1.0)) * (1 / 6)
    saturation = chroma / tl.maximum(value, _GREY)
    return tl.where(coloured, hue, 0.0), tl.where(coloured, saturation, 0.0), value


@triton.jit
def _parts(a, b, g):
    """The gradient g of the larger of a and b, divided between them; that of the smaller is the same of -a and -b."""
    share = tl.where(a == b, 0.5, tl.where(a > b, 1.0, 0.0))
    return g * share, g * (1.0 - share)


@triton.jit
def _hsv_backward(red, green, blue, g_hue, g_saturation, g_value):
    value, chroma, top, _, rise = _hexcone(red, green, blue)
    coloured = chroma > _GREY
    inverse = 1.0 / tl.where(coloured, chroma, 1.0)
    g_rise = tl.where(coloured, g_hue * (1 / 6) * inverse, 0.0)
    divisor = tl.maximum(value, _GREY)
    g_ratio = tl.where(coloured, g_saturation / divisor, 0.0)
    g_chroma = g_ratio - g_rise * rise * inverse
    g_largest = g_value + g_chroma - g_ratio * chroma / divisor

    g_pair, g_blue = _parts(tl.maximum(red, green), blue, g_largest)
    g_red, g_green = _parts(red, green, g_pair)
    g_pair, g_low = _parts(-tl.minimum(red, green), -blue, -g_chroma)
    g_blue += g_low
    g_low, g_other = _parts(-red, -green, g_pair)
    g_red += g_low + tl.where(top == 2, g_rise, tl.where(top == 1, -g_rise, 0.0))
    g_green += g_other + tl.where(top == 0, g_rise, tl.where(top == 2, -g_rise, 0.0))
    g_blue += tl.where(top == 1, g_rise, tl.where(top == 0, -g_rise, 0.0))
    return g_red, g_green, g_blue


@triton.jit
def _pure(hue):
    """The three channels of a hue at full saturation, before their clip."""
    hue = hue * 6.0
    return tl.abs(hue - 3.0) - 1.0, 2.0 - tl.abs(hue - 2.0), 2.0 - tl.abs(hue - 4.0)


@triton.jit
def _from_hsv(hue, saturation, value):
    red, green, blue = _pure(hue)
    red = value * (1.0 - saturation * (1.0 - _clip(red, 1.0)))
    green = value * (1.0 - saturation * (1.0 - _clip(green, 1.0)))
    blue = value * (1.0 - saturation * (1.0 - _clip(blue, 1.0)))
    return red, green, blue


@triton.jit
def _pale_backward(pure, saturation, value, g):
    """What one channel gives to the gradients of `pure`, saturation and value."""
    missing = 1.0 - _clip(pure, 1.0)
    return tl.where(_inside(pure, 1.0), g * value * saturation, 0.0), -g * value * missing, g * (1.0 - saturation * missing)


@triton.jit
def _from_hsv_backward(hue, saturation, value, g_red, g_green, g_blue):
    red, green, blue = _pure(hue)
    g_red, saturation_0, value_0 = _pale_backward(red, saturation, value, g_red)
    g_green, saturation_1, value_1 = _pale_backward(green, saturation, value, g_green)
    g_blue, saturation_2, value_2 = _pale_backward(blue, saturation, value, g_blue)
    g_hue = tl.where(hue > 0.5, g_red, -g_red)  # at the tips of the three, where they have no slope, they are clipped
    g_hue -= tl.where(hue > 1 / 3, g_green, -g_green)
    g_hue -= tl.where(hue > 2 / 3, g_blue, -g_blue)
    return g_hue * 6.0, saturation_0 + saturation_1 + saturation_2, value_0 + value_1 + value_2


@triton.jit
def _enter(red, green, blue, SPACE: tl.constexpr):
    if SPACE == "hsv":
        return _hsv(red, green, blue)
    elif SPACE == "xyz":
        return _xyz(red, green, blue)
    elif SPACE == "lab":
        return _lab(red, green, blue)
    else:
        tl.static_assert(SPACE == "yuv")
        return _product(red, green, blue, _YUV_FROM_RGB)


@triton.jit
def _enter_backward(red, green, blue, g_0, g_1, g_2, SPACE: tl.constexpr):
    if SPACE == "hsv":
        return _hsv_backward(red, green, blue, g_0, g_1, g_2)
    elif SPACE == "xyz":
        return _xyz_backward(red, green, blue, g_0, g_1, g_2)
    elif SPACE == "lab":
        return _lab_backward(red, green, blue, g_0, g_1, g_2)
    else:
        return _transposed(g_0, g_1, g_2, _YUV_FROM_RGB)


@triton.jit
def _leave(a, b, c, SPACE: tl.constexpr):
    if SPACE == "hsv":
        return _from_hsv(a, b, c)
    elif SPACE == "xyz":
        return _from_xyz(a, b, c)
    elif SPACE == "lab":
        return _from_lab(a, b, c)
    else:
        return _product(a, b, c, _RGB_FROM_YUV)


@triton.jit
def _leave_backward(a, b, c, g_0, g_1, g_2, SPACE: tl.constexpr):
    if SPACE == "hsv":
        return _from_hsv_backward(a, b, c, g_0, g_1, g_2)
    elif SPACE == "xyz":
        return _from_xyz_backward(a, b, c, g_0, g_1, g_2)
    elif SPACE == "lab":
        return _from_lab_backward(a, b, c, g_0, g_1, g_2)
    else:
        return _transposed(g_0, g_1, g_2, _RGB_FROM_YUV)


@triton.jit
def _offset(positions, image, channel, SPACE: tl.constexpr):
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
    """The pixel in its space with the offset, before the clip."""
    a, b, c = _enter(red, green, blue, SPACE)
    a += _offset(positions, image, 0, SPACE)
    b += _offset(positions, image, 1, SPACE)
    c += _offset(positions, image, 2, SPACE)
    return a, b, c


@triton.jit
def _forward_kernel(x, positions, out, size, SPACE: tl.constexpr, HIGH: tl.constexpr, ALL: tl.constexpr, BLOCK: tl.constexpr):
    """The first channel of the space is clipped to [0, HIGH], the others likewise if ALL are."""
    image, here, valid = pixels(size, BLOCK)
    red, green, blue = load_channels(x, here, size, valid)
    a, b, c = _shifted(red, green, blue, positions, image, SPACE)
    a = _clip(a, HIGH)
    if ALL:
        b, c = _clip(b, HIGH), _clip(c, HIGH)
    red, green, blue = _leave(a, b, c, SPACE)
    store_channels(out, here, size, valid, red, green, blue)


@triton.jit
def _backward_kernel(
    x, gradient, positions, out, size, SPACE: tl.constexpr, HIGH: tl.constexpr, ALL: tl.constexpr, BLOCK: tl.constexpr
):
    image, here, valid = pixels(size, BLOCK)
    red, green, blue = load_channels(x, here, size, valid)
    g_0, g_1, g_2 = load_channels(gradient, here, size, valid)  # of the pixels, then of the space
    a, b, c = _shifted(red, green, blue, positions, image, SPACE)
    if ALL:
        g_0, g_1, g_2 = _leave_backward(_clip(a, HIGH), _clip(b, HIGH), _clip(c, HIGH), g_0, g_1, g_2, SPACE)
        g_1, g_2 = tl.where(_inside(b, HIGH), g_1, 0.0), tl.where(_inside(c, HIGH), g_2, 0.0)
    else:
        g_0, g_1, g_2 = _leave_backward(_clip(a, HIGH), b, c, g_0, g_1, g_2, SPACE)
    g_0 = tl.where(_inside(a, HIGH), g_0, 0.0)
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
    """All of HSV is clipped to [0, 1]; the hue does not wrap."""
    return _ColorSpace.apply(x, params["position"], "hsv")


def xyz(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """All of XYZ is clipped to [0, 1]."""
    return _ColorSpace.apply(x, params["position"], "xyz")


def lab(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """L is clipped to [0, 100]."""
    return _ColorSpace.apply(x, params["position"], "lab")


def yuv(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Y is clipped to [0, 1]."""
    return _ColorSpace.apply(x, params["position"], "yuv")
