"""Let pixels at the bounds of a `clamp` move: inside a stranger's code its derivative there becomes 1.

torch's own is 0 or one half, so a white pixel could never become darker, and a defense would look stronger than it is.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bart.autograd import clip

Bounds = tuple[Any, Any]


def _both(low: Any = None, high: Any = None, **names: Any) -> Bounds:
    """Return the bounds of `clamp` and `clip`, by place or by name."""
    return names.get("min", low), names.get("max", high)


def _lower(low: Any = None, **names: Any) -> Bounds:
    return names.get("min", low), None


def _upper(high: Any = None, **names: Any) -> Bounds:
    return None, names.get("max", high)


CLAMPS: dict[Any, Callable[..., Bounds]] = {
    **dict.fromkeys((torch.clamp, torch.clip, Tensor.clamp, Tensor.clip), _both),
    **dict.fromkeys((torch.clamp_min, Tensor.clamp_min), _lower),
    **dict.fromkeys((torch.clamp_max, Tensor.clamp_max), _upper),
}
"""How each function reads its bounds."""

IN_PLACE: dict[Any, Callable[..., Bounds]] = {
    **dict.fromkeys((torch.clamp_, torch.clip_, Tensor.clamp_, Tensor.clip_), _both),
    **dict.fromkeys((torch.clamp_min_, Tensor.clamp_min_), _lower),
    **dict.fromkeys((torch.clamp_max_, Tensor.clamp_max_), _upper),
}


def clamps(function: Any) -> bool:
    """Return whether a function of torch is one of these."""
    return function in CLAMPS or function in IN_PLACE


class StraightThrough(TorchFunctionMode):
    """Give `clamp` and `clip` of torch the derivative 1 at their bounds, as long as this is entered. Values stay the same."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of torch, or its straight-through form."""
        if not torch.is_grad_enabled() or not clamps(func):
            return func(*args, **kwargs or {})
        named = dict(kwargs or {})
        x = args[0] if args else named.pop("input", None)
        if "out" in named or not isinstance(x, Tensor) or not x.requires_grad:
            return func(*args, **kwargs or {})
        low, high = (CLAMPS.get(func) or IN_PLACE[func])(*args[1:], **named)
        if any(isinstance(bound, Tensor) and bound.requires_grad for bound in (low, high)):
            return func(*args, **kwargs or {})
        y = _clipped(x, low, high)
        return x.copy_(y) if func in IN_PLACE else y


def _clipped(x: Tensor, low: Any, high: Any) -> Tensor:
    """Return `clip`, whose bounds are both numbers or both tensors."""
    low, high = -torch.inf if low is None else low, torch.inf if high is None else high
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        low, high = (torch.as_tensor(bound, dtype=x.dtype, device=x.device) for bound in (low, high))
    return clip(x, low, high)
