"""Move images and gradients from place to place, with the end that every kernel has: a clip, or a mask.

It serves where a stack enters and leaves a barrage, and functions that are no kernels yet.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.common.rows import places, store_clipped
from bart.types import Gradient, Transform

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


def adapted(transform: Transform) -> Kernel:
    """Return the kernel of a transform that has a function (x, params) -> y, which sees the images of a part as a stack.

    It moves these together and back, and it transforms something in slots without an image too.
    """

    def forward(part: Part) -> Saved:
        row, source = (part.table[:, column].long().clamp_min(0) for column in (0, 1))
        params = {name: value.index_select(0, row) for name, value in part.params.items()}
        with torch.set_grad_enabled(transform.gradient is not Gradient.NONE):
            leaf = part.x.index_select(0, source).requires_grad_(torch.is_grad_enabled())
            y = transform.unclipped(leaf, params)
        move(_from_slots(part.table), y.detach().contiguous(), part.y, part.inside, part.clip)
        return leaf, y

    def backward(part: Part, saved: Saved) -> None:
        assert part.gradient is not None
        row = part.table[:, 0]
        leaf, y = saved
        (product,) = torch.autograd.grad(y, leaf, part.gradient.index_select(0, row.long().clamp_min(0)))
        mask(_from_slots(torch.stack([row, row, row], 1)), product.contiguous(), part.y, part.inside)

    return Kernel(forward, None if transform.gradient is Gradient.NONE else backward)


def _from_slots(table: Tensor) -> Tensor:
    """Return the table (c, 4) that reads each image from its slot."""
    slot = torch.arange(len(table), dtype=torch.int32, device=table.device)
    return torch.stack([table[:, 0], slot, table[:, 2], slot], 1)
