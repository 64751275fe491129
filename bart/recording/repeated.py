"""Repeat a function of tensors: the first call of a kind runs as ever, the second is watched, the third is recorded.

The first call compiles kernels and fills caches. The second shows whether a replay would compute the same: no number is read
from the device, no hook runs, nothing is drawn from torch's generator. From then on a call copies its inputs to where the
recorded launches read them, replays, and copies the results. A replay runs no Python, so a function must be pure: whatever
else it depends on belongs to its kind.
"""

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import RLock
from typing import TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn

from bart.recording.graphs import Memory, forget, keeping, new_memory, recorded, records, store
from bart.recording.watch import Watch, hooked

T = TypeVar("T")

Function = Callable[..., tuple[Tensor, ...]]
Inputs = tuple[Tensor | None, ...]

MOST = 3
"""Kinds that are kept: a whole stack, a last one of fewer images, one of another attack. They share their memory."""


@dataclass
class _Kept:
    """Hold what was recorded of a kind, once it is: its own inputs and outputs, the owner's weights, and what must stay."""

    owner: nn.Module
    device: torch.device
    stream: int
    calls: int = 0
    inputs: Inputs = ()
    outputs: tuple[Tensor, ...] = ()
    replay: Callable[[], None] | None = None
    memory: Memory | None = None
    weights: list[tuple[Tensor, int]] = field(default_factory=list)
    things: list[object] = field(default_factory=list)

    def current(self) -> bool:
        """Return whether the weights are where they were."""
        return all(weight.data_ptr() == place for weight, place in self.weights)


_KEPT = store()
_REFUSED: WeakSet[nn.Module] = WeakSet()
_LOCK = RLock()


def possible(owner: nn.Module, x: Tensor) -> bool:
    """Return whether functions of `x` that run a module may be recorded, as far as is known."""
    return records(x) and owner not in _REFUSED


def repeat(
    owner: nn.Module, kind: Hashable | None, function: Function, x: Tensor, *others: Tensor | None
) -> tuple[Tensor, ...]:
    """Return `function(x, *others)`, a tuple of tensors, which may be a replay.

    owner   the module that the function runs; once it is refused, with a warning, none of its functions is recorded
    kind    all that the result and the launches depend on but the values of the inputs; None: do not record
    """
    inputs = (x, *others)
    if kind is None or not possible(owner, x):
        return with_room(lambda: function(*inputs))
    with _LOCK:
        kept = _kept(owner, (kind, owner.training, *map(_like, inputs)), x)
        kept.calls += 1
        if kept.calls == 2:
            return _watched(owner, function, inputs)
        if kept.calls > 2 and (kept.replay is not None or _record(kept, function, inputs)):
            return _replayed(kept, inputs)
    return with_room(lambda: function(*inputs))


def with_room(work: Callable[[], T]) -> T:
    """Return `work()`. Where memory ends while recorded functions hold some, they are dropped for good, and it runs again."""
    try:
        return work()
    except torch.OutOfMemoryError:
        if all(kept.replay is None for kept in _KEPT.values()):
            raise
    for owner in {kept.owner for kept in _KEPT.values()}:  # only now: until the error is forgotten, it holds what did not fit
        _refuse(owner, "leaves too little memory for other work")
    forget()
    torch.cuda.empty_cache()
    return work()


def _like(given: Tensor | None) -> Hashable:
    """Return what the launches depend on of an input."""
    return None if given is None else (given.shape, given.stride(), given.dtype, given.device)


def _stream(x: Tensor) -> int:
    """Return the number of the stream on which work for `x` is queued."""
    return torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0


def _kept(owner: nn.Module, kind: Hashable, x: Tensor) -> _Kept:
    """Return the place of a kind of calls on a stream; a new one if weights were moved since."""
    stream = _stream(x)
    if (kind, stream) in _KEPT and not _KEPT[kind, stream].current():
        del _KEPT[kind, stream]
    while (kind, stream) not in _KEPT and len(_KEPT) >= MOST:
        _KEPT.popitem(last=False)
    found: _Kept = _KEPT.setdefault((kind, stream), _Kept(owner, x.device, stream))
    _KEPT.move_to_end((kind, stream))
    return found


def _watched(owner: nn.Module, function: Function, inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the function's result, and refuse its owner if a replay would not compute it."""
    with keeping([]), Watch() as watch:  # as if it were recorded: so nothing within is, which would hold memory twice
        found = with_room(lambda: function(*inputs))
    reason = hooked(owner) or watch.reason
    if reason:
        _refuse(owner, reason)
    return found


def _refuse(owner: nn.Module, reason: object) -> None:
    """Record nothing of a module any more."""
    _REFUSED.add(owner)
    name = type(getattr(owner, "model", owner)).__name__
    warnings.warn(f"steps of attacks on {name} are not recorded, only queued: it {reason}", stacklevel=2)


def _record(kept: _Kept, function: Function, inputs: Inputs) -> bool:
    """Record a function; return False, with a warning, where a device, its driver or its memory does not allow it."""
    others = (other.memory for other in _KEPT.values() if other.stream == kept.stream)
    kept.memory = next(filter(None, others), None) or new_memory()
    kept.inputs = tuple(None if given is None else given.detach().clone() for given in inputs)

    def work() -> None:
        kept.outputs = function(*kept.inputs)

    try:
        with keeping(kept.things):
            (kept.replay,) = recorded(kept.device, work, memory=kept.memory)
    except RuntimeError as error:  # all works without, only slower; an end of memory is one too
        reason = str(error)
    else:
        kept.weights = [(weight, weight.data_ptr()) for weight in (*kept.owner.parameters(), *kept.owner.buffers())]
        return True
    _refuse(kept.owner, f"cannot be: {reason}")
    forget()
    return False


def _replayed(kept: _Kept, inputs: Inputs) -> tuple[Tensor, ...]:
    """Return copies of the results of a replay with these inputs."""
    for mine, given in zip(kept.inputs, inputs, strict=True):
        if mine is not None and given is not None:
            mine.copy_(given)
    assert kept.replay is not None
    kept.replay()
    return tuple(result.clone() for result in kept.outputs)
