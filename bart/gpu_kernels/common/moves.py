"""Move images and gradients from place to place, with the end that every kernel has: a clip, or a mask.

So a stack enters and leaves a barrage. Grey images are three equal channels there: after a transform the others take what
became of the first, and before its backward pass the first takes their gradients.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.rows import places, store_clipped

BLOCK = 4096
"""Values of a program."""


@triton.jit
def _block(size, BLOCK: tl.constexpr):
    """Return this program's slot, its places within an image of `size` values, and which exist."""
    blocks = tl.cdiv(size, BLOCK)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return tl.program_id(0) // blocks, place, place < size


@triton.jit
def _move_kernel(table, x, y, inside, size, CLIP: tl.constexpr, BLOCK: tl.constexpr):
    """Move a block of an image."""
    slot, place, valid = _block(size, BLOCK)
    row, source, target = places(table, slot)
    if row < 0:
        return
    value = tl.load(x + source * size + place, mask=valid, other=0.0)
    store_clipped(y, inside, target * size + place, row * size + place, value, valid, CLIP)


@triton.jit
def _mask_kernel(table, gradient, out, inside, size, BLOCK: tl.constexpr):
    """Move a block of a gradient, zero where the image was clipped."""
    slot, place, valid = _block(size, BLOCK)
    row, source, target = places(table, slot)
    if row < 0:
        return
    value = tl.load(gradient + source * size + place, mask=valid, other=0.0)
    value *= tl.load(inside + row * size + place, mask=valid, other=0).to(tl.float32)
    tl.store(out + target * size + place, value, mask=valid)


@triton.jit
def _spread_kernel(table, y, inside, size, BLOCK: tl.constexpr):
    """Copy a block of the first channel, and of its marks, to the others."""
    slot, place, valid = _block(size, BLOCK)
    row, _, target = places(table, slot)
    if row < 0:
        return
    there, marked = target * 3 * size + place, row * 3 * size + place
    value = tl.load(y + there, mask=valid, other=0.0)
    mark = tl.load(inside + marked, mask=valid, other=0)
    for channel in tl.static_range(1, 3):
        tl.store(y + there + channel * size, value, mask=valid)
        tl.store(inside + marked + channel * size, mark, mask=valid)


@triton.jit
def _collect_kernel(table, gradient, size, BLOCK: tl.constexpr):
    """Add up the three channels of a block of a gradient in the first; the others become zero."""
    slot, place, valid = _block(size, BLOCK)
    row, _, _ = places(table, slot)
    if row < 0:
        return
    here = gradient + row * 3 * size + place
    value = tl.load(here, mask=valid, other=0.0)
    for channel in tl.static_range(1, 3):
        value += tl.load(here + channel * size, mask=valid, other=0.0)
        tl.store(here + channel * size, tl.zeros_like(value), mask=valid)
    tl.store(here, value, mask=valid)


def move(table: Tensor, x: Tensor, y: Tensor, inside: Tensor, clip: bool) -> None:
    """Set y[target] to x[source] for each line of a table, (row, source, target, anything); with `clip`, in [0, 1].

    inside  (., 3, h, w) uint8: then inside[row] becomes 1 where clipping changed nothing
    """
    _launch(_move_kernel, table, x, y, inside, size=x[0].numel(), CLIP=clip)


def mask(table: Tensor, gradient: Tensor, out: Tensor, inside: Tensor) -> None:
    """Set out[target] to gradient[source] inside[row] for each line of a table, (row, source, target, anything)."""
    _launch(_mask_kernel, table, gradient, out, inside, size=gradient[0].numel())


def spread(table: Tensor, y: Tensor, inside: Tensor) -> None:
    """Set all channels of y[target] (., 3, h, w), and of inside[row], to the first, for each line of a table."""
    _launch(_spread_kernel, table, y, inside, size=y[0, 0].numel())


def collect(table: Tensor, gradient: Tensor) -> None:
    """Set the first channel of gradient[row] (., 3, h, w) to the sum of all, the others to zero, for each line of a table."""
    _launch(_collect_kernel, table, gradient, size=gradient[0, 0].numel())


def _launch(kernel: Any, table: Tensor, *tensors: Tensor, size: int, **constants: Any) -> None:
    """Queue a kernel over blocks of the images of a table, of `size` values each."""
    programs = len(table) * launcher.cdiv(size, BLOCK)
    launcher.launch(kernel, programs, table, *tensors, size, **constants, BLOCK=BLOCK)
