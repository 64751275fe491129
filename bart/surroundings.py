"""Keep what draws from keys apart from what may surround a call: tracers, compilers, autocast, backward passes.

Any of them could freeze draws, change them or meet other ones, in silence.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def eager(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method (module, x, ...) that `torch.compile` runs as it is: each call has new draws, of new shapes.

    The method raises ValueError where it is exported, traced, or differentiated by `torch.func`, which can't take draws.
    """

    @wraps(method)
    def call(module: Any, x: Any, *others: Any) -> Any:
        if found := _hindrance(x):
            raise ValueError(f"{type(module).__name__} can't be {found}")
        if torch.compiler.is_compiling():  # only then is the compiler loaded; to load it takes seconds
            return torch.compiler.disable(method)(module, x, *others)
        return method(module, x, *others)

    return call


def _hindrance(x: Any) -> str:
    """Return what the draws can't take part in, and what to do instead; nothing for a plain call."""
    if torch.compiler.is_exporting() or torch.jit.is_tracing() or isinstance(x, torch.fx.Proxy):
        return "exported or traced: its draws would become constants. Export the classifier alone, without its defense"
    if isinstance(x, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(x):
        return "differentiated or mapped by torch.func, which kernels and draws don't take: use torch.autograd.grad, row by row"
    return ""


def first_pass(module: torch.nn.Module) -> None:
    """Raise ValueError inside a backward pass: a forward pass that is run again there would meet the next draws."""
    if torch._C._current_graph_task_id() != -1:
        raise ValueError(
            f"{type(module).__name__} was called inside a backward pass, as torch.utils.checkpoint does, where it would meet "
            "other draws: leave it out of the checkpoint"
        )


def no_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Return what leaves autocast, if it is on: it is for networks, and would round what transforms multiply to 16 bits."""
    known = torch.amp.is_autocast_available(device.type)  # not of tensors without memory
    return torch.autocast(device.type, enabled=False) if known and torch.is_autocast_enabled(device.type) else nullcontext()
