"""Watch the operators of torch that a function calls, to see why it could not be replayed."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bart.recording.graphs import records

_READS = {
    torch.Tag.data_dependent_output: "reads a number from the device ({})",
    torch.Tag.dynamic_output_shape: "makes tensors whose shape depends on values ({})",
}
_COPIES = {"aten::_to_copy", "aten::copy_"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS if hasattr(every_module, f"_global{name}"))


class Watch(TorchDispatchMode):
    """Hold, in `reason`, the first thing within this context that a replay would not do again; None if there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.reason: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        self.reason = self.reason or _reason(func, args, kwargs, tensors)
        return out


def _reason(func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> str | None:
    """Return why an operator could not be replayed; None if it could. Numbers that are on the host may be read."""
    name = func._schema.name
    if torch.Tag.nondeterministic_seeded in func.tags and _dropout(func, args, kwargs) != 0:
        return f"draws from torch's generator ({name})"
    if name in _COPIES and len({t.device for t in tensors}) > 1:
        return f"copies between devices ({name})"
    if _by_numbers(name, args) or not any(map(records, tensors)):
        return None
    return next((text.format(name) for tag, text in _READS.items() if tag in func.tags), None)


def _dropout(func: Any, args: Any, kwargs: Any) -> float | None:
    """Return the share that an attention drops: at 0 it draws nothing, though its tag says so. None for other operators."""
    named = zip((argument.name for argument in func._schema.arguments), args, strict=False)
    defaults = {argument.name: argument.default_value for argument in func._schema.arguments}
    share: float | None = (defaults | dict(named) | kwargs).get("dropout_p")
    return share


def _by_numbers(name: str, args: Any) -> bool:
    """Return whether an operator indexes by whole numbers: its tag is for masks, by which shapes depend on values."""
    return name == "aten::index" and not any(
        t.dtype in (torch.bool, torch.uint8) for t in tree_leaves(args[1]) if t is not None
    )


def hooked(module: nn.Module) -> str | None:
    """Return why a module could not be replayed: hooks are code that a replay does not run. None if it has none."""
    if any(getattr(every_module, name) for name in _GLOBAL_HOOKS):
        return "has hooks of all modules"
    named = (name for name, part in module.named_modules() if any(getattr(part, hooks, None) for hooks in _HOOKS))
    return next((f"has hooks ({name or type(module).__name__})" for name in named), None)
