"""Record passes as CUDA graphs and keep them: a replay starts all launches of a pass at once, in memory that stays its own.

The first pass of a kind runs launch by launch, which compiles the kernels; the second is recorded. A recorded pass belongs to
one gradient at a time: until that graph of autograd is gone, others of its kind run launch by launch.
"""

import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bart.gpu_kernels.barrage.passes import Pass
from bart.gpu_kernels.barrage.plan import Plan
from bart.gpu_kernels.barrage.streams import stream_of

MOST = 3
"""Kinds of passes that are kept, each with its memory: a stack with a gradient, one without, and a last one of fewer images."""


def records(x: Tensor) -> bool:
    """Return whether what is queued for `x` can be recorded."""
    return x.is_cuda


def recorded(device: torch.device, *works: Callable[[], None]) -> list[Callable[[], None]]:
    """Return what repeats the launches of each work, in this order; what a work allocates stays where it is.

    PyTorch's own stream for recording is of the device that it met first: launches on another would not be recorded.
    """
    stream = stream_of(device, "recording")
    graphs, memory = [torch.cuda.CUDAGraph() for _ in works], torch.cuda.graph_pool_handle()
    for graph, work in zip(graphs, works, strict=True):
        with torch.cuda.graph(graph, memory, stream, "thread_local"):  # others may allocate meanwhile
            work()
    return [graph.replay for graph in graphs]


@dataclass
class _Kept:
    """Hold the recorded pass of a kind, once there is one, and whether it is free; whether a device can record the kind."""

    made: Pass | None = None
    free: bool = True
    able: bool = True


_KEPT: OrderedDict[Hashable, _Kept] = OrderedDict()


class Lent:
    """Hold a recorded pass, which nothing else may use as long as this exists."""

    def __init__(self, kept: _Kept) -> None:
        assert kept.made is not None
        self.forward, self.backward = kept.made.forward, kept.made.backward
        if kept.made.plan.graded:
            kept.free = False
            weakref.finalize(self, setattr, kept, "free", True)


def pass_of(plan: Plan, keys: Tensor, orders: Tensor) -> Pass | Lent:
    """Return a pass of a plan, recorded if its kind was met before and no gradient waits for it; arguments as of `Pass`."""
    stream = torch.cuda.current_stream(plan.device).cuda_stream if plan.device.type == "cuda" else 0
    kind = (plan, stream, threading.get_ident())  # threads that share a stream would overwrite each other's keys
    if kind not in _KEPT:
        while len(_KEPT) >= MOST:
            _KEPT.popitem(last=False)
        _KEPT[kind] = _Kept()
        return Pass(plan, keys, orders)
    _KEPT.move_to_end(kind)
    kept = _KEPT[kind]
    if kept.made is None and kept.able:
        kept.made = _recorded_pass(plan, keys, orders)
        kept.able = kept.made is not None
    if kept.made is None or not kept.free:
        return Pass(plan, keys, orders)
    kept.made.keys.copy_(keys)
    kept.made.orders.copy_(orders)
    return Lent(kept)


def _recorded_pass(plan: Plan, keys: Tensor, orders: Tensor) -> Pass | None:
    """Return a pass that is recorded; None, with a warning, where a device or its driver cannot record it."""
    made = Pass(plan, keys.clone(), orders.clone())
    try:
        made.record(partial(recorded, plan.device))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # all works without, only slower
        warnings.warn(f"barrages are not recorded on {plan.device}: {error}", stacklevel=2)
        return None
    return made


def forget() -> None:
    """Give up what was recorded, with its memory; the next pass of each kind runs launch by launch."""
    _KEPT.clear()
