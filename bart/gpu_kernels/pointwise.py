"""Compute colour precision and the four grey transforms pixel by pixel, as fast as memory allows.

A program takes a block of pixels of one image with their three channels, and reads that image's parameters once. All grey
transforms are y = (diag(own) + blend weight^T) x of a pixel's RGB, with three numbers each that the program computes from the
parameters. Their backward pass is the same with `blend` and `weight` exchanged.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.autograd import straight_through
from bart.gpu_kernels.common import launcher

BLOCK = 512
"""Pixels of a program of four warps: a thread has four of each channel, which are one load."""


@triton.jit
def pixels(size, BLOCK: tl.constexpr):
    """Return this program's image (int64), the places of its pixels in the image's first plane of `size`, and which exist."""
    blocks = tl.cdiv(size, BLOCK)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return image, image * 3 * size + place, place < size


@triton.jit
def load_channels(x, here, size, valid):
    """Return red, green and blue of the pixels `here`."""
    red = tl.load(x + here, mask=valid, other=0.0)
    green = tl.load(x + size + here, mask=valid, other=0.0)
    blue = tl.load(x + 2 * size + here, mask=valid, other=0.0)
    return red, green, blue


@triton.jit
def store_channels(out, here, size, valid, red, green, blue):
    """Store red, green and blue of the pixels `here`."""
    tl.store(out + here, red, mask=valid)
    tl.store(out + size + here, green, mask=valid)
    tl.store(out + 2 * size + here, blue, mask=valid)


def launch_pixels(kernel: Any, x: Tensor, *arguments: Any, **constants: Any) -> Tensor:
    """Run kernel(x, *arguments, out, size) on blocks of the pixels of x (n, 3, h, w) and return `out`, like x."""
    out, size = torch.empty_like(x), x.shape[-2] * x.shape[-1]
    programs = len(x) * triton.cdiv(size, BLOCK)
    launcher.launch(kernel, programs, x, *arguments, out, size, **constants, BLOCK=BLOCK)
    return out


@triton.jit
def _quantised(value, scale):
    """Return round(value scale) / scale. Ties go to even and are found by comparisons, which no fused operation can change."""
    scaled = value * scale
    low = tl.floor(scaled)
    odd = tl.floor(low * 0.5) * 2.0 != low
    up = (scaled > low + 0.5) | ((scaled == low + 0.5) & odd)
    return tl.div_rn(tl.where(up, low + 1.0, low), scale)


@triton.jit
def _color_precision_kernel(x, scales, out, size, BLOCK: tl.constexpr):
    """Quantise a block of pixels."""
    image, here, valid = pixels(size, BLOCK)
    red, green, blue = load_channels(x, here, size, valid)
    red = _quantised(red, tl.load(scales + image * 3).to(tl.float32))
    green = _quantised(green, tl.load(scales + image * 3 + 1).to(tl.float32))
    blue = _quantised(blue, tl.load(scales + image * 3 + 2).to(tl.float32))
    store_channels(out, here, size, valid, red, green, blue)


def color_precision(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Return round(x s) / s, straight-through in the backward pass."""
    return straight_through(x, launch_pixels(_color_precision_kernel, x, params["scale"]))


@triton.jit
def _mixture(channel, ratios, alone, strengths, image, KIND: tl.constexpr):
    """Return `own`, `blend` and `weight` of one channel of an image."""
    if KIND == "mix":
        return 0.0, 1.0, tl.load(ratios + image * 3 + channel)
    elif KIND == "partial_mix":
        keep = tl.load(strengths + image * 3 + channel)
        return keep, 1.0 - keep, tl.load(ratios + image * 3 + channel)
    else:
        third = tl.load(alone + image)
        rank = tl.minimum(channel - (third < channel).to(tl.int32), 1)  # among the two that are mixed; unused for the third
        other = (third != channel).to(tl.float32)
        weight = other * tl.load(ratios + image * 2 + rank)
        if KIND == "two_thirds":
            return 1.0 - other, other, weight
        else:
            tl.static_assert(KIND == "one_channel")
            blend = (1.0 - other) * tl.load(strengths + image)
            return 1.0 - blend, blend, weight


@triton.jit
def _grey_kernel(x, ratios, alone, strengths, out, size, KIND: tl.constexpr, TRANSPOSED: tl.constexpr, BLOCK: tl.constexpr):
    """Mix the channels of a block of pixels."""
    image, here, valid = pixels(size, BLOCK)
    own_0, blend_0, weight_0 = _mixture(0, ratios, alone, strengths, image, KIND)
    own_1, blend_1, weight_1 = _mixture(1, ratios, alone, strengths, image, KIND)
    own_2, blend_2, weight_2 = _mixture(2, ratios, alone, strengths, image, KIND)
    red, green, blue = load_channels(x, here, size, valid)
    if TRANSPOSED:
        common = blend_0 * red + blend_1 * green + blend_2 * blue
        red = own_0 * red + weight_0 * common
        green = own_1 * green + weight_1 * common
        blue = own_2 * blue + weight_2 * common
    else:
        common = weight_0 * red + weight_1 * green + weight_2 * blue
        red = own_0 * red + blend_0 * common
        green = own_1 * green + blend_1 * common
        blue = own_2 * blue + blend_2 * common
    store_channels(out, here, size, valid, red, green, blue)


def _mixed(x: Tensor, kind: str, params: dict[str, Tensor], transposed: bool) -> Tensor:
    """Multiply each pixel by its image's matrix, or by its transpose. A kind does not read parameters that it lacks."""
    ratio = params["ratio"]
    alone, strength = params.get("channel", ratio), params.get("keep", params.get("mix", ratio))
    return launch_pixels(_grey_kernel, x, ratio, alone, strength, KIND=kind, TRANSPOSED=transposed)


class _Grey(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: str, params: dict[str, Tensor]) -> Tensor:
        ctx.kind, ctx.params = kind, params
        return _mixed(x, kind, params, False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _mixed(gradient.contiguous(), ctx.kind, ctx.params, True), None, None


def grey_mix(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Set all channels to ratio . x."""
    return _Grey.apply(x, "mix", params)


def grey_partial_mix(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Return x keep + grey (1 - keep) for each channel."""
    return _Grey.apply(x, "partial_mix", params)


def grey_two_thirds(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Replace the two other channels by their mix."""
    return _Grey.apply(x, "two_thirds", params)


def grey_one_channel(x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Set channel c to g mix + x_c (1 - mix), where g is the mix of the two others."""
    return _Grey.apply(x, "one_channel", params)
