"""Filter spectra: a kernel multiplies half spectra by their gains, in place, between torch's two real transforms of a stack.

Images are moved together and back, as these transforms want them one after another.

The gains of a coefficient are computed where they are needed; except for the removed band they are the same for the three
channels. A program processes a run of coefficients of one image. The gains are real and the same for k and -k, so the whole
operator is symmetric, and the backward pass is the forward pass of the gradient.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.fields import field
from bart.gpu_kernels.common.part import Part, linear
from bart.gpu_kernels.common.rows import places, store_clipped, store_masked

BLOCK = 512
"""Coefficients of a program."""
MOVED = 4096
"""Values of a program that moves images."""


@triton.jit
def _kept(k, keep, side):
    """Return whether frequency k of a side remains, in float64: float32 would truncate to other integers than Python's."""
    return (k < tl.floor(keep * side).to(tl.int32)) | (k >= tl.floor((1 - keep) * side).to(tl.int32))


@triton.jit
def _gains_kernel(table, spectrum, keeps, seeds, height, width, BLOCK: tl.constexpr):
    """Multiply `spectrum` (c, 3, height, width // 2 + 1, 2) in place; program (slot, run of coefficients)."""
    half = width // 2 + 1
    size = height * half
    runs = tl.cdiv(size, BLOCK)
    image = (tl.program_id(0) // runs).to(tl.int64)
    mine, _, _ = places(table, image)
    if mine < 0:
        return
    place = tl.program_id(0) % runs * BLOCK + tl.arange(0, BLOCK)
    row, column = place // half, place % half
    row_mirrored, column_mirrored = (height - row) % height, (width - column) % width  # of -k

    seed = tl.load(seeds + mine)
    unit = 0.5 / (height * width).to(tl.float32)  # the mean of k and -k, and the inverse transform's factor
    gain = (field(seed, 0, row * width + column) * 0.04 + 0.98) * unit
    gain_mirrored = (field(seed, 0, row_mirrored * width + column_mirrored) * 0.04 + 0.98) * unit
    for channel in tl.static_range(3):
        keep = tl.load(keeps + mine * 3 + channel).to(tl.float64)
        kept = _kept(row, keep, height) & _kept(column, keep, width)
        kept_mirrored = _kept(row_mirrored, keep, height) & _kept(column_mirrored, keep, width)
        factor = tl.where(kept, gain, 0.0) + tl.where(kept_mirrored, gain_mirrored, 0.0)
        there = spectrum + (image * 3 + channel) * size * 2 + place[:, None] * 2 + tl.arange(0, 2)[None, :]
        inside = (place < size)[:, None]
        value = tl.load(there, mask=inside & (factor > 0)[:, None], other=0.0)  # removed coefficients are not read
        tl.store(there, value * factor[:, None], mask=inside)


@triton.jit
def _block(size, BLOCK: tl.constexpr):
    """Return this program's slot, its places within an image of `size` values, and which exist."""
    blocks = tl.cdiv(size, BLOCK)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return (tl.program_id(0) // blocks).to(tl.int64), place, place < size


@triton.jit
def _gather_kernel(table, x, stack, size, BACK: tl.constexpr, BLOCK: tl.constexpr):
    """Move a block of an image, or of a gradient, from its row to its slot."""
    slot, place, valid = _block(size, BLOCK)
    row, source, _ = places(table, slot)
    if row < 0:
        return
    value = tl.load(x + (row if BACK else source) * size + place, mask=valid, other=0.0)
    tl.store(stack + slot * size + place, value, mask=valid)


@triton.jit
def _scatter_kernel(table, stack, y, inside, size, BACK: tl.constexpr, CLIP: tl.constexpr, BLOCK: tl.constexpr):
    """Move a block of an image, or of a gradient, from its slot to where it goes."""
    slot, place, valid = _block(size, BLOCK)
    row, _, target = places(table, slot)
    if row < 0:
        return
    value = tl.load(stack + slot * size + place, mask=valid, other=0.0)
    if BACK:
        store_masked(y, inside, row * size + place, value, valid, CLIP)
    else:
        store_clipped(y, inside, target * size + place, row * size + place, value, valid, CLIP)


def _filter(part: Part, x: Tensor, back: bool) -> None:
    """Queue two transforms of torch and three launches, which filter the images of a part, or a gradient."""
    n, (height, width) = part.slots, part.size
    stack, size = torch.empty((n, 3, height, width), device=part.y.device), 3 * height * width
    programs, options = n * launcher.cdiv(size, MOVED), {"BACK": back, "BLOCK": MOVED}
    launcher.launch(_gather_kernel, programs, part.table, x, stack, size, **options)
    spectrum = torch.fft.rfft2(stack).contiguous()
    runs = n * launcher.cdiv(height * (width // 2 + 1), BLOCK)
    arguments = (part.table, torch.view_as_real(spectrum), part.params["keep"], part.params["seed"], height, width)
    launcher.launch(_gains_kernel, runs, *arguments, BLOCK=BLOCK, num_warps=4)
    stack = torch.fft.irfft2(spectrum, s=(height, width), norm="forward")  # does not scale
    launcher.launch(_scatter_kernel, programs, part.table, stack, part.y, part.inside, size, CLIP=part.clip, **options)


fft = linear(_filter)
"""`bart.transforms.fft.apply`."""
