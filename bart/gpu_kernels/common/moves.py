"""Move images and gradients from place to place, with the end that every kernel has: a clip, or a mask.

So a stack enters and leaves a barrage.
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


def move(table: Tensor, x: Tensor, y: Tensor, inside: Tensor, clip: bool) -> None:
    """Set y[target] to x[source] for each line of a table, (row, source, target, anything); with `clip`, in [0, 1].

    inside  (., 3, h, w) uint8: then inside[row] becomes 1 where clipping changed nothing
    """
    _launch(_move_kernel, table, x, y, inside, CLIP=clip)


def mask(table: Tensor, gradient: Tensor, out: Tensor, inside: Tensor) -> None:
    """Set out[target] to gradient[source] inside[row] for each line of a table, (row, source, target, anything)."""
    _launch(_mask_kernel, table, gradient, out, inside)


def _launch(kernel: Any, table: Tensor, x: Tensor, y: Tensor, inside: Tensor, **constants: Any) -> None:
    """Queue a kernel over blocks of the images of a table."""
    size = x[0].numel()
    launcher.launch(kernel, len(table) * launcher.cdiv(size, BLOCK), table, x, y, inside, size, **constants, BLOCK=BLOCK)
