"""Convert between RGB and HSV, with the derivatives. HSV is in [0, 1]; the hue is in turns."""

import triton
import triton.language as tl

from bart.gpu_kernels.pointwise.color_space.scalar import clip, in_range
from bart.transforms import color

_GREY = tl.constexpr(color.GREY)


@triton.jit
def _hexcone(red, green, blue):
    """Return value, chroma, top, and base and rise of the hue, which is base + rise / chroma sixths of a turn.

    `top` is 0, 1 or 2: the largest channel.
    """
    value = tl.maximum(tl.maximum(red, green), blue)
    chroma = value - tl.minimum(tl.minimum(red, green), blue)
    top = tl.where(blue == value, 2, tl.where(green == value, 1, 0))
    rise = tl.where(top == 2, red - green, tl.where(top == 1, blue - red, green - blue))
    base = tl.where(top == 2, 4.0, tl.where(top == 1, 2.0, tl.where(rise < 0.0, 6.0, 0.0)))
    return value, chroma, top, base, rise


@triton.jit
def rgb_to_hsv(red, green, blue):
    """Convert RGB to HSV."""
    value, chroma, _, base, rise = _hexcone(red, green, blue)
    coloured = chroma > _GREY
    hue = (base + rise / tl.where(coloured, chroma, 1.0)) * (1 / 6)
    saturation = chroma / tl.maximum(value, _GREY)
    return tl.where(coloured, hue, 0.0), tl.where(coloured, saturation, 0.0), value


@triton.jit
def _divided_gradient(a, b, g):
    """Divide the gradient g of the larger of a and b between them. For the smaller, pass -a and -b."""
    share = tl.where(a == b, 0.5, tl.where(a > b, 1.0, 0.0))
    return g * share, g * (1.0 - share)


@triton.jit
def rgb_to_hsv_backward(red, green, blue, g_hue, g_saturation, g_value):
    """Return the gradient of RGB from that of HSV."""
    value, chroma, top, _, rise = _hexcone(red, green, blue)
    coloured = chroma > _GREY
    inverse = 1.0 / tl.where(coloured, chroma, 1.0)
    g_rise = tl.where(coloured, g_hue * (1 / 6) * inverse, 0.0)
    divisor = tl.maximum(value, _GREY)
    g_ratio = tl.where(coloured, g_saturation / divisor, 0.0)
    g_chroma = g_ratio - g_rise * rise * inverse
    g_largest = g_value + g_chroma - g_ratio * chroma / divisor

    g_pair, g_blue = _divided_gradient(tl.maximum(red, green), blue, g_largest)
    g_red, g_green = _divided_gradient(red, green, g_pair)
    g_pair, g_low = _divided_gradient(-tl.minimum(red, green), -blue, -g_chroma)
    g_blue += g_low
    g_low, g_other = _divided_gradient(-red, -green, g_pair)
    g_red += g_low + tl.where(top == 2, g_rise, tl.where(top == 1, -g_rise, 0.0))
    g_green += g_other + tl.where(top == 0, g_rise, tl.where(top == 2, -g_rise, 0.0))
    g_blue += tl.where(top == 1, g_rise, tl.where(top == 0, -g_rise, 0.0))
    return g_red, g_green, g_blue


@triton.jit
def _pure(hue):
    """Return the three channels of a hue at full saturation, before their clip."""
    hue = hue * 6.0
    return tl.abs(hue - 3.0) - 1.0, 2.0 - tl.abs(hue - 2.0), 2.0 - tl.abs(hue - 4.0)


@triton.jit
def hsv_to_rgb(hue, saturation, value):
    """Convert HSV to RGB."""
    red, green, blue = _pure(hue)
    red = value * (1.0 - saturation * (1.0 - clip(red, 1.0)))
    green = value * (1.0 - saturation * (1.0 - clip(green, 1.0)))
    blue = value * (1.0 - saturation * (1.0 - clip(blue, 1.0)))
    return red, green, blue


@triton.jit
def _channel_backward(pure, saturation, value, g):
    """Return what one channel adds to the gradients of `pure`, saturation and value."""
    missing = 1.0 - clip(pure, 1.0)
    return tl.where(in_range(pure, 1.0), g * value * saturation, 0.0), -g * value * missing, g * (1.0 - saturation * missing)


@triton.jit
def hsv_to_rgb_backward(hue, saturation, value, g_red, g_green, g_blue):
    """Return the gradient of HSV from that of RGB."""
    red, green, blue = _pure(hue)
    g_red, saturation_0, value_0 = _channel_backward(red, saturation, value, g_red)
    g_green, saturation_1, value_1 = _channel_backward(green, saturation, value, g_green)
    g_blue, saturation_2, value_2 = _channel_backward(blue, saturation, value, g_blue)
    g_hue = tl.where(hue > 0.5, g_red, -g_red)  # where the three have no slope, they are clipped
    g_hue -= tl.where(hue > 1 / 3, g_green, -g_green)
    g_hue -= tl.where(hue > 2 / 3, g_blue, -g_blue)
    return g_hue * 6.0, saturation_0 + saturation_1 + saturation_2, value_0 + value_1 + value_2
