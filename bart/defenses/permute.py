"""Clip a whole stack to [0, 1] and put it into another order, in one pass: what happens between the rounds of a barrage."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart import dispatch
from bart.autograd import clip
from bart.cpu_kernels import clip as cpu_clip


class Permutation(NamedTuple):
    """Hold an order of a stack and its inverse, (n,) int64 each: new[i] = old[gather[i]], old[j] = new[scatter[j]]."""

    gather: Tensor
    scatter: Tensor


class _Permute(torch.autograd.Function):
    """Reorder a stack. The backward pass is a gather too, where autograd's would be a slower scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, scatter: Tensor) -> Tensor:
        ctx.save_for_backward(scatter)
        return x.index_select(0, gather)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (scatter,) = ctx.saved_tensors
        return gradient.index_select(0, scatter), None, None


class _Rearrange(torch.autograd.Function):
    """Clip, reorder and cut on a CPU in one compiled pass."""

    @staticmethod
    def forward(ctx: Any, gather: Tensor, scatter: Tensor, counts: Sequence[int], *stacks: Tensor) -> tuple[Tensor, ...]:
        outputs, inside = cpu_clip.clipped(stacks, 0.0, 1.0, gather, counts)
        ctx.save_for_backward(inside, scatter)
        ctx.counts = [len(stack) for stack in stacks]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inside, scatter = ctx.saved_tensors
        return None, None, None, *cpu_clip.masked(gradients, inside, scatter, ctx.counts)


def clip_and_permute(x: Tensor, permutation: Permutation) -> Tensor:
    """Return clip(x)[gather] of a stack (n, c, h, w), with the derivative of `bart.autograd.clip`."""
    if dispatch.available(x):
        from bart.gpu_kernels.common.permute import clip_and_permute

        return clip_and_permute(x, *permutation)
    return rearranged([x], permutation, [len(x)])[0] if cpu_clip.fits(x) else _Permute.apply(clip(x), *permutation)


def rearranged(stacks: Sequence[Tensor], permutation: Permutation, counts: Sequence[int]) -> list[Tensor]:
    """Return `clip_and_permute` of stacks (., c, h, w) one after the other, cut into stacks of `counts` images."""
    if all(cpu_clip.fits(stack) for stack in stacks):
        return list(_Rearrange.apply(*permutation, counts, *stacks))
    return list(clip_and_permute(torch.cat(list(stacks)), permutation).split(list(counts)))
