"""Save and restore the checkpoint of a training, bit for bit: all tensors that a step changes, by name, and the step."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline.store import checkpoints
from pipeline.store.layout import Store

Tensors = dict[str, Tensor]


class Part(Protocol):
    """Describe a part of a training whose state is tensors."""

    def tensors(self) -> Tensors:
        """Return the state by name."""

    def restore(self, tensors: Tensors) -> None:
        """Go back to a state that `tensors` returned."""


@dataclass(frozen=True)
class Network:
    """Save weights and running statistics."""

    module: nn.Module

    def tensors(self) -> Tensors:
        """Return the state by name; see `Part`."""
        return dict(self.module.state_dict())

    def restore(self, tensors: Tensors) -> None:
        """Go back to a state; see `Part`."""
        self.module.load_state_dict(tensors)


@dataclass(frozen=True)
class Optimizer:
    """Save the moments of each parameter; the settings come from the training's file."""

    optimizer: torch.optim.Optimizer

    def tensors(self) -> Tensors:
        """Return the state by name; see `Part`."""
        state = self.optimizer.state_dict()["state"]
        return {
            f"{place}.{name}": value for place, moments in state.items() for name, value in moments.items() if value is not None
        }

    def restore(self, tensors: Tensors) -> None:
        """Go back to a state; see `Part`."""
        state: dict[int, Tensors] = {}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for name, value in tensors.items():
            place, _, moment = name.partition(".")
            like = parameters[int(place)]
            if value.shape == like.shape:
                value = torch.empty_like(like).copy_(value)  # in the parameter's own memory format, as fused optimizers want it
            state.setdefault(int(place), {})[moment] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


@dataclass(frozen=True)
class Scaler:
    """Save the factor of a loss in fp16, and the steps since it last changed."""

    scaler: torch.amp.GradScaler

    def tensors(self) -> Tensors:
        """Return the state by name; see `Part`."""
        state = self.scaler.state_dict()
        kept = [name for name in ("scale", "_growth_tracker") if name in state]
        return {name: torch.tensor(state[name], dtype=torch.float64, device="cpu") for name in kept}

    def restore(self, tensors: Tensors) -> None:
        """Go back to a state; see `Part`."""
        if tensors:
            settings = {"scale": float(tensors["scale"]), "_growth_tracker": int(tensors["_growth_tracker"])}
            self.scaler.load_state_dict(self.scaler.state_dict() | settings)


@dataclass(frozen=True)
class Plain:
    """Save tensors that are changed in place."""

    values: Tensors

    def tensors(self) -> Tensors:
        """Return the state by name; see `Part`."""
        return self.values

    def restore(self, tensors: Tensors) -> None:
        """Go back to a state; see `Part`."""
        for name, value in tensors.items():
            self.values[name].copy_(value)


class TrainingCheckpoint:
    """Hold the checkpoint of one training.

    unit, identity  the training that it belongs to; a checkpoint of another one is not used
    steps, images   of the training and of a step, for the header
    parts           by name, without a dot
    """

    def __init__(self, store: Store, unit: str, identity: str, steps: int, images: int, parts: Mapping[str, Part]) -> None:
        self.store, self.parts = store, parts
        self.name = f"checkpoints/{unit}.safetensors"
        self._about: dict[str, Any] = {"unit": unit, "identity": identity, "steps": steps, "images": images}
        self.at = time.monotonic()

    def save(self, step: int) -> None:
        """Write the state into the store; it replaces an earlier one."""
        tensors = {f"{part}.{name}": v for part, holder in self.parts.items() for name, v in holder.tensors().items()}
        header = checkpoints.Header(step=step, seconds=0.0, **self._about)
        host = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        self.store.replace(self.name, checkpoints.encode(header, host))
        self.at = time.monotonic()

    def resume(self) -> int:
        """Go back to the checkpoint, if there is a sound one of this training. Returns its step, else 0."""
        data = self.store.read(self.name)
        header = checkpoints.header(data, self.name) if data else None
        if not data or not header or (header.unit, header.identity) != (self._about["unit"], self._about["identity"]):
            return 0
        tensors = checkpoints.decode(data)
        if tensors is None:
            return 0
        for part, holder in self.parts.items():
            start = f"{part}."
            holder.restore({name.removeprefix(start): v for name, v in tensors.items() if name.startswith(start)})
        return int(header.step)

    def remove(self) -> None:
        """Remove the checkpoint: the training is done."""
        self.store.remove(self.name)


@contextmanager
def reproducible() -> Iterator[None]:
    """Use algorithms with reproducible sums, so that a resumed training ends with the same weights."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        memory.fill_uninitialized_memory = fill
