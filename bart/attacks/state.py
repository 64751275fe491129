"""The state of a running attack: a record of tensors, so that a checkpoint is the record and a resume is exact."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from bart import rng


@dataclass(frozen=True)
class State:
    """Per image, leading dimension n.

    clean, x    the photograph and the iterate, (n, 3, h, w) float32 in [0, 1]
    label       the class that is right, (n,) int64
    target      the class to reach, (n,) int64; -1 where the attack is untargeted
    keys        one per image: all its randomness
    step        steps done, (n,)
    nonfinite, zero   gradients that held NaN or Inf; gradients that were zero everywhere: counts, (n,) int64
    """

    clean: Tensor
    x: Tensor
    label: Tensor
    target: Tensor
    keys: rng.Mirror
    step: rng.Mirror
    nonfinite: Tensor
    zero: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """The record as host tensors by name, for a checkpoint."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: (v.host if isinstance(v, rng.Mirror) else v.cpu()).contiguous() for name, v in values.items()}

    @staticmethod
    def of(tensors: dict[str, Tensor], device: torch.device | str) -> "State":
        """The record back from `tensors()`, bit for bit."""
        values: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
        return State(**values | {name: rng.Mirror.of(tensors[name], device) for name in ("keys", "step")})

    def advanced(self, x: Tensor, gradient: Tensor) -> "State":
        """One step further, at `x`, with the faults of the gradient counted."""
        flat = gradient.flatten(1)
        return replace(
            self,
            x=x,
            step=self.step.map(lambda side: side + 1),
            nonfinite=self.nonfinite + ~flat.isfinite().all(1),
            zero=self.zero + (flat == 0).all(1),
        )


def begin(
    clean: Tensor,
    label: Tensor,
    target: Tensor,
    keys: rng.Mirror,
    first: Callable[[Tensor, Tensor], Tensor],
) -> State:
    """A state before its first step; `first(clean, seeds)` places the iterate."""
    x = first(clean, rng.fold(keys.device, "start"))
    step, nonfinite, zero = (torch.zeros(len(clean), dtype=torch.int64) for _ in range(3))  # no two share memory
    device = clean.device
    return State(clean, x, label, target, keys, rng.Mirror.of(step, device), nonfinite.to(device), zero.to(device))
