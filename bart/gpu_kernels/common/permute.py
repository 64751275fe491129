"""Clip and reorder a stack in one pass each way: a program moves a block of pixels of one image."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher

BLOCK = 4096
"""Pixels of a program."""


@triton.jit
def _forward_kernel(x, gather, y, inside, size, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    """Clip and move a block, and mark the elements that did not change."""
    blocks = tl.cdiv(size, BLOCK)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    valid = place < size
    value = tl.load(x + tl.load(gather + image) * size + place, mask=valid, other=0)
    clipped = tl.where(value > 1, 1.0, tl.where(value < 0, 0.0, value))  # unlike a minimum, this keeps NaN
    tl.store(y + image * size + place, clipped, mask=valid)
    if MASKED:
        tl.store(inside + image * size + place, (value == clipped).to(tl.uint8), mask=valid)


@triton.jit
def _backward_kernel(gradient, scatter, inside, out, size, BLOCK: tl.constexpr):
    """Move a block of the gradient back, zero where elements were clipped."""
    blocks = tl.cdiv(size, BLOCK)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    valid = place < size
    source = tl.load(scatter + image) * size + place
    value = tl.load(gradient + source, mask=valid, other=0)
    kept = tl.load(inside + source, mask=valid, other=0).to(tl.float32)
    tl.store(out + image * size + place, value * kept, mask=valid)


class _ClipAndPermute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, scatter: Tensor) -> Tensor:
        x = x.contiguous()
        y, size, masked = torch.empty_like(x), x[0].numel(), ctx.needs_input_grad[0]
        inside = torch.empty_like(x, dtype=torch.uint8) if masked else y
        programs = len(x) * launcher.cdiv(size, BLOCK)
        launcher.launch(_forward_kernel, programs, x, gather, y, inside, size, MASKED=masked, BLOCK=BLOCK)
        if masked:
            ctx.save_for_backward(scatter, inside)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        scatter, inside = ctx.saved_tensors
        gradient = gradient.contiguous()
        out, size = torch.empty_like(gradient), gradient[0].numel()
        programs = len(gradient) * launcher.cdiv(size, BLOCK)
        launcher.launch(_backward_kernel, programs, gradient, scatter, inside, out, size, BLOCK=BLOCK)
        return out, None, None


def clip_and_permute(x: Tensor, gather: Tensor, scatter: Tensor) -> Tensor:
    """Return clip(x)[gather] of a stack (n, ...) float32, with derivative 1 where clipping changed nothing."""
    return _ClipAndPermute.apply(x, gather, scatter)
