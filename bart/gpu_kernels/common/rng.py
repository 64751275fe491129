"""Make the random numbers of `bart.rng` on a GPU: the same values bit for bit, each function in one launch instead of a dozen.

A program makes BLOCK of the numbers, or the orders of BLOCK images, from their images' keys alone. `name` is a name's number,
`shape` that of one image's numbers. `bart.rng` defines what is computed and calls the functions here.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.fields import _fold

BLOCK = 256
"""Numbers of a program."""
PLACES = 1024
"""Entries of the table of images and places that one program orders."""


@triton.jit
def _words(keys, name, total, count, BLOCK: tl.constexpr):
    """Return this program's entries of the flat numbers, which of them exist, and the 64 random bits of each."""
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = entry < total
    key = tl.load(keys + entry // count, mask=valid, other=0)
    return entry, valid, _fold(_fold(key, name), entry % count)


@triton.jit
def _fold_kernel(keys, data, out, total, BLOCK: tl.constexpr):
    """Store child keys."""
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = entry < total
    tl.store(out + entry, _fold(tl.load(keys + entry, mask=valid, other=0), data), mask=valid)


@triton.jit
def _bits_kernel(keys, name, out, total, count, BLOCK: tl.constexpr):
    """Store 64 random bits per entry."""
    entry, valid, word = _words(keys, name, total, count, BLOCK)
    tl.store(out + entry, word, mask=valid)


@triton.jit
def _coin_kernel(keys, name, out, total, count, BLOCK: tl.constexpr):
    """Store coins."""
    entry, valid, word = _words(keys, name, total, count, BLOCK)
    tl.store(out + entry, word < 0, mask=valid)


@triton.jit
def _uniform_kernel(keys, name, step, low, out, total, count, BLOCK: tl.constexpr):
    """Store uniform numbers.

    In float64 the product is exact and the sum has more than twice the digits: both are rounded to float32 as in float32
    arithmetic.
    """
    entry, valid, word = _words(keys, name, total, count, BLOCK)
    steps = ((word >> 40) & 0xFFFFFF).to(tl.float64)
    above = (steps * tl.cast(step, tl.float64)).to(tl.float32)
    value = (above.to(tl.float64) + tl.cast(low, tl.float64)).to(tl.float32)
    tl.store(out + entry, value, mask=valid)


@triton.jit
def _end(end, by_image, by_place, entry, valid, count, STORED: tl.constexpr):
    """Return one end of each entry's range: a number, or an element of a tensor with its strides."""
    place = (entry // count) * by_image + (entry % count) * by_place
    value = tl.load(end + place, mask=valid, other=0) if STORED else end
    return tl.cast(value, tl.int64)


@triton.jit
def _integers_kernel(
    keys, name, low, low_image, low_place, high, high_image, high_place, out, total, count,
    LOW: tl.constexpr, HIGH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store uniform integers."""
    entry, valid, word = _words(keys, name, total, count, BLOCK)
    first = _end(low, low_image, low_place, entry, valid, count, LOW)
    last = _end(high, high_image, high_place, entry, valid, count, HIGH)
    tl.store(out + entry, ((((word >> 33) & 0x7FFFFFFF) * (last - first + 1)) >> 31) + first, mask=valid)


@triton.jit
def _order_kernel(keys, name, out, n, count, IMAGES: tl.constexpr, PLACES: tl.constexpr):
    """Store an order per image.

    A place's rank is the number of smaller words; no two are equal, as SplitMix64 is one to one.
    """
    image = tl.program_id(0) * IMAGES + tl.arange(0, IMAGES)[:, None]
    place = tl.arange(0, PLACES)[None, :]
    key = _fold(tl.load(keys + image, mask=image < n, other=0), name)
    word = _fold(key, place)
    rank = tl.zeros([IMAGES, PLACES], tl.int32)
    for other in range(count):
        rank += (_fold(key, other) < word).to(tl.int32)
    tl.store(out + image * count + rank, place.to(tl.int64), mask=(image < n) & (place < count))


def _made(kernel: Any, keys: Tensor, shape: tuple[int, ...], dtype: torch.dtype, *arguments: Any, **constants: Any) -> Tensor:
    """Return the numbers (n, *shape) that `kernel` makes from the keys (n,)."""
    out = torch.empty((len(keys), *shape), dtype=dtype, device=keys.device)
    total, count = out.numel(), math.prod(shape)
    launcher.launch(
        kernel, launcher.cdiv(total, BLOCK), keys.contiguous(), *arguments, out, total, count, BLOCK=BLOCK, **constants
    )
    return out


def fold(keys: Tensor, data: int) -> Tensor:
    """Return child keys, of the shape of `keys`."""
    out = torch.empty(keys.shape, dtype=keys.dtype, device=keys.device)
    programs = launcher.cdiv(out.numel(), BLOCK)
    launcher.launch(_fold_kernel, programs, keys.contiguous(), data, out, out.numel(), BLOCK=BLOCK)
    return out


def bits(keys: Tensor, name: int, shape: tuple[int, ...]) -> Tensor:
    """Return 64 random bits, (n, *shape) int64."""
    return _made(_bits_kernel, keys, shape, torch.int64, name)


def coin(keys: Tensor, name: int, shape: tuple[int, ...]) -> Tensor:
    """Return coins, (n, *shape) bool."""
    return _made(_coin_kernel, keys, shape, torch.bool, name)


def uniform(keys: Tensor, name: int, low: float, high: float, shape: tuple[int, ...]) -> Tensor:
    """Return uniform numbers in low..high, (n, *shape) float32."""
    return _made(_uniform_kernel, keys, shape, torch.float32, name, float((high - low) * 2.0**-24), float(low))


def integers(keys: Tensor, name: int, low: int | Tensor, high: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return uniform integers, (n, *shape) int64. Ends that are tensors are read in place, by their strides."""
    ends: list[int | Tensor] = []
    for end in (low, high):
        if isinstance(end, Tensor):
            each = end.expand(len(keys), *shape).reshape(len(keys), math.prod(shape))
            ends += [each, *each.stride()]
        else:
            ends += [end, 0, 0]
    stored = {"LOW": isinstance(low, Tensor), "HIGH": isinstance(high, Tensor)}
    return _made(_integers_kernel, keys, shape, torch.int64, name, *ends, **stored)


def order(keys: Tensor, name: int, count: int) -> Tensor:
    """Return orders, (n, count) int64."""
    out = torch.empty((len(keys), count), dtype=torch.int64, device=keys.device)
    places = triton.next_power_of_2(max(count, 1))
    images = max(PLACES // places, 1)
    programs = launcher.cdiv(len(keys), images)
    launcher.launch(_order_kernel, programs, keys.contiguous(), name, out, *out.shape, IMAGES=images, PLACES=places)
    return out
