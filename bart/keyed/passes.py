"""Run a function with its backward pass in the same surroundings as its forward pass."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
"""Images (n, c, h, w) -> a tensor (n, ...), differentiable or not."""

Surroundings = Callable[[bool], AbstractContextManager[Any]]
"""Return what is entered around a pass: the forward one, or with True the backward one."""


class _Exactly(torch.autograd.Function):
    """Record a graph of its own in the forward pass, and go back through it in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Function, surroundings: Surroundings) -> Tensor:
        ctx.leaf, ctx.surroundings = x.detach().requires_grad_(), surroundings
        with torch.enable_grad(), surroundings(False):
            ctx.y = function(ctx.leaf.clone())  # the function may write into its argument
        y: Tensor = ctx.y.detach()
        if not ctx.y.requires_grad:
            ctx.mark_non_differentiable(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        keep = torch._C._autograd._get_current_graph_task_keep_graph()
        with ctx.surroundings(True):
            (found,) = _gradient(ctx.y, ctx.leaf, gradient, keep)
        if not keep:
            ctx.y = ctx.leaf = None
        return found, None, None


def _gradient(y: Tensor, x: Tensor, gradient: Tensor, keep: bool) -> Any:
    """Return `torch.autograd.grad(y, x, gradient, retain_graph=keep, allow_unused=True)`.

    That one leaves a TorchFunctionMode while it runs, and then code that runs again would not meet it.
    """
    engine: Any = torch.autograd.Variable._execution_engine
    return engine.run_backward((y,), (gradient,), keep, False, (x,), allow_unreachable=True, accumulate_grad=False)


def exactly(function: Function, x: Tensor, surroundings: Surroundings) -> Tensor:
    """Return `function(x)` run within its surroundings, as its backward pass will be."""
    if torch.is_grad_enabled() and x.requires_grad:
        y: Tensor = _Exactly.apply(x, function, surroundings)
        return y
    with surroundings(False):
        return function(x.clone())
