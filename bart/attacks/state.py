"""Hold the state of a running attack as a record of tensors. A checkpoint is this record, so a resume is exact."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from bart import rng
from bart.gradient import Goal
from bart.types import checked

_MIRRORS = ("keys", "step", "began", "left")
_MEMORY = "memory."


@dataclass(frozen=True)
class State:
    """Hold a running attack, per image, with leading dimension n.

    clean, x    the photograph and the iterate, (n, 3, h, w) float32 in [0, 1]
    label       the right class, (n,) int64
    target      the class to reach, (n,) int64; -1 if the attack is untargeted
    keys        one per image: all its randomness
    step        steps done, (n,); no two steps of an image have the same draws
    began       the step at which the running attempt began, (n,): later than 0 after a restart
    left        the step after which the image left because it succeeded, (n,); -1 while it has not
    grad_evals, forward_evals   draws with and without a gradient, spent so far, (n,) int64
    nonfinite, zero   numbers of gradients that held NaN or Inf, and that were zero everywhere, (n,) int64
    norms       of the finite gradients: their number, and the sum of their L2 norms, (n, 2) float64; NaN: unknown
    memory      other tensors that an attack keeps, by name: momentum, the best point so far, ...
    """

    clean: Tensor
    x: Tensor
    label: Tensor
    target: Tensor
    keys: rng.Mirror
    step: rng.Mirror
    began: rng.Mirror
    left: rng.Mirror
    grad_evals: Tensor
    forward_evals: Tensor
    nonfinite: Tensor
    zero: Tensor
    norms: Tensor
    memory: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def goal(self) -> Goal:
        """Return label and target."""
        return Goal(self.label, self.target)

    @property
    def age(self) -> Tensor:
        """Return the steps since the running attempt began, (n,), for schedules."""
        return self.step.device - self.began.device

    def parts(self) -> dict[str, Tensor]:
        """Return the tensors of the record by name, its own, on the device and of mirrors on the host."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "memory"}
        values |= {_MEMORY + name: value for name, value in self.memory.items()}
        return {name: v.host if isinstance(v, rng.Mirror) else v for name, v in values.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return the record as host tensors by name, for a checkpoint."""
        return {name: value.cpu().contiguous() for name, value in self.parts().items()}

    @staticmethod
    def of(tensors: dict[str, Tensor], device: torch.device | str) -> "State":
        """Return the record from the tensors that `tensors()` returned, bit for bit; of an earlier release, without norms."""
        unknown = torch.full((len(tensors["x"]), 2), torch.nan, dtype=torch.float64, device=device)
        values: dict[str, Any] = {"memory": {}, "norms": unknown}
        for name, value in tensors.items():
            if name.startswith(_MEMORY):
                values["memory"][name.removeprefix(_MEMORY)] = value.to(device)
            else:
                values[name] = rng.Mirror.of(value, device) if name in _MIRRORS else value.to(device)
        return State(**values)

    def rows(self, index: Sequence[int]) -> "State":
        """Return the images at these places as a state of their own."""
        places = rng.Mirror.of(torch.tensor(index, dtype=torch.int64, device="cpu"), self.x.device)
        return self._map(lambda side, place: side[place], places)

    def put(self, index: Sequence[int], replacement: "State") -> "State":
        """Return this state with the images at these places replaced by those of another state."""
        places = rng.Mirror.of(torch.tensor(index, dtype=torch.int64, device="cpu"), self.x.device)
        return self._map(lambda side, place, new: side.index_copy(0, place, new), places, replacement)

    def _map(self, function: Any, places: rng.Mirror, *others: "State") -> "State":
        """Apply a function to each tensor of the record, with the places and the same tensor of other states."""
        values: dict[str, Any] = {}
        for f in fields(self):
            mine, theirs = getattr(self, f.name), [getattr(other, f.name) for other in others]
            if f.name == "memory":
                values[f.name] = {k: function(v, places.device, *(t[k] for t in theirs)) for k, v in mine.items()}
            elif isinstance(mine, rng.Mirror):
                values[f.name] = mine.map(function, places, *theirs)
            else:
                values[f.name] = function(mine, places.device, *theirs)
        return State(**values)

    def advanced(
        self,
        x: Tensor,
        gradient: Tensor | None = None,
        grads: int = 0,
        forwards: int = 0,
        memory: dict[str, Tensor] | None = None,
        settled: Tensor | None = None,
    ) -> "State":
        """Return the state one step further, at `x`.

        grads, forwards   the draws that the step took
        gradient    is measured, and checked for values that are not finite and for zeros
        memory      replaces the entries of these names
        settled     images that have nothing to gain at `x`, (n,) bool: their gradient says nothing; default: none
        The tensors are laid out as those of a checkpoint: the order of a sum, and so its last digits, depends on the layout.
        """
        seen = self if gradient is None else self._measured(gradient.flatten(1), settled)
        return replace(
            seen,
            x=x.contiguous(),
            step=self.step.map(lambda side: side + 1),
            grad_evals=self.grad_evals + grads,
            forward_evals=self.forward_evals + forwards,
            memory=self.memory | {name: value.contiguous() for name, value in (memory or {}).items()},
        )

    def _measured(self, gradient: Tensor, settled: Tensor | None) -> "State":
        """Return the state with one more gradient of each image measured, (n, values) float32.

        In float64 the norm of finite values is finite, and 0 for zeros alone. Rounded to float32 it is the same in any batch,
        for which a sum may have another order.
        """
        norm = torch.linalg.vector_norm(gradient, dim=1, dtype=torch.float64)
        counts = torch.ones_like(norm, dtype=torch.bool) if settled is None else ~settled
        finite = counts & norm.isfinite()
        one = torch.stack([finite.double(), norm.float().double().where(finite, 0)], dim=1)
        return replace(
            self,
            nonfinite=self.nonfinite + (counts & ~norm.isfinite()),
            zero=self.zero + (counts & (norm == 0)),
            norms=self.norms + one,
        )


def begin(clean: Tensor, x: Tensor, goal: Goal, keys: rng.Mirror, **memory: Tensor) -> State:
    """Return a state before its first step, at `x`. Raises ValueError if `clean` are not images in [0, 1]."""
    checked(clean)
    none = torch.full((len(clean),), -1, device="cpu", dtype=torch.int64)
    values = (none + 1, none + 1, none)  # no two share memory
    step, began, left = (rng.Mirror.of(value, clean.device) for value in values)
    grads, forwards, nonfinite, zero = (torch.zeros_like(goal.label) for _ in range(4))
    norms = torch.zeros(len(clean), 2, dtype=torch.float64, device=clean.device)
    return State(clean, x, *goal, keys, step, began, left, grads, forwards, nonfinite, zero, norms, memory)
