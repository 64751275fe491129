"""Define what a transform's kernels are: two functions that queue launches for a part of a stack, forward and backward.

A part is what meets one transform at the same time. Its images stay where they are in the stack: kernels find them by a table
(`bart.gpu_kernels.common.rows`). A table may be longer than the part; then its last lines hold no image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bart.gpu_kernels.common.rows import COLUMNS
from bart.types import Params

Saved = tuple[Tensor, ...]
"""What a backward pass needs of the forward pass, (c, ...) each: by slot, not by row."""


class Part(NamedTuple):
    """Describe the images of one launch and where everything of them is.

    table       (c, 4) int32, a line a slot: row of the stack, source, target, kind; row -1: the slot has no image
    x           (p, 3, h, w) float32: the image of a slot is x[source]. Backward only for kernels that keep it
    y           forward (q, 3, h, w): the result of a slot goes to y[target]. Backward (n, 3, h, w): its gradient, to y[row]
    inside      (n, 3, h, w) uint8. Forward: whether clipping y changed nothing. Backward: whether clipping x did
    clip        whether to clip and to use `inside`; not where a transform is called alone
    params      (n, ...) each: by row of the stack
    gradient    (n, 3, h, w), backward: the incoming gradient of a slot is gradient[row]
    """

    table: Tensor
    x: Tensor
    y: Tensor
    inside: Tensor
    clip: bool
    params: Params
    gradient: Tensor | None = None

    @property
    def slots(self) -> int:
        """Return the number of lines of the table."""
        return len(self.table)

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of the images."""
        return self.y.shape[2], self.y.shape[3]


@dataclass(frozen=True)
class Kernel:
    """Hold the launches of a transform. Called, it is like `Transform.eager`: (x, params) -> y, for a whole stack, unclipped.

    forward     queues what makes y; returns what `backward` needs
    backward    queues what makes the gradient; None: there is no derivative; `straight`: that of the identity
    keeps       whether `backward` reads x
    """

    forward: Callable[[Part], Saved]
    backward: Callable[[Part, Saved], None] | None = None
    keeps: bool = False

    def __call__(self, x: Tensor, params: Params) -> Tensor:
        """Return the transformed images (n, 3, h, w)."""
        if self.backward is None:
            return self.alone(x.detach(), params)[0]
        y: Tensor = _Alone.apply(x, self, params)
        return y

    def alone(self, x: Tensor, params: Params) -> tuple[Tensor, Saved]:
        """Return the transformed images, and what the backward pass needs."""
        x = x.contiguous()
        y = torch.empty_like(x)
        params = {name: value.contiguous() for name, value in params.items()}
        return y, self.forward(Part(whole_table(len(x), x.device), x, y, _unread(x.device), False, params))


def linear(queue: Callable[[Part, Tensor, bool], None]) -> Kernel:
    """Return the kernel of a transform that is linear in the image, so that its backward pass needs the parameters alone.

    queue   (part, x, transposed): queues what applies the transform to `x`, or its transpose
    """

    def forward(part: Part) -> Saved:
        queue(part, part.x, False)
        return ()

    def backward(part: Part, saved: Saved) -> None:
        assert part.gradient is not None
        queue(part, part.gradient, True)

    return Kernel(forward, backward)


def straight(part: Part, saved: Saved) -> None:
    """Name the derivative of the identity, which needs no launch of its own."""
    raise NotImplementedError("what applies a kernel passes the gradient on by itself")


@lru_cache(maxsize=64)
def whole_table(n: int, device: torch.device) -> Tensor:
    """Return the table (n, 4) of a stack of which all images meet the same transform, in their order."""
    return torch.arange(n, dtype=torch.int32, device=device)[:, None].repeat(1, COLUMNS)


@lru_cache(maxsize=64)
def _unread(device: torch.device) -> Tensor:
    """Return a tensor to pass where none is used."""
    return torch.empty(1, dtype=torch.uint8, device=device)


class _Alone(torch.autograd.Function):
    """Apply a kernel to all images of a stack."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Kernel, params: Params) -> Tensor:
        y, saved = kernel.alone(x, params)
        ctx.kernel, ctx.params = kernel, params
        ctx.save_for_backward(x if kernel.keeps else None, *saved)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.kernel.backward is straight:
            return gradient, None, None
        gradient = gradient.contiguous()
        x, *saved = ctx.saved_tensors
        x, out = gradient if x is None else x.contiguous(), torch.empty_like(gradient)
        params = {name: value.contiguous() for name, value in ctx.params.items()}
        part = Part(whole_table(len(x), x.device), x, out, _unread(x.device), False, params, gradient)
        ctx.kernel.backward(part, tuple(saved))
        return out, None, None
