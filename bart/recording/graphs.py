"""Record work as CUDA graphs, and keep the list of all that hold memory for what was recorded."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

Memory = Any
"""The handle of the memory of recorded works; those with the same one overwrite what the others left there."""

_STORES: list[OrderedDict[Hashable, Any]] = []
_KEEPING: list[list[object]] = []


def records(x: Tensor) -> bool:
    """Return whether what is queued for `x` can be recorded."""
    return x.is_cuda


def new_memory() -> Memory | None:
    """Return memory of its own for recorded works; None where there is no GPU."""
    return torch.cuda.graph_pool_handle() if torch.cuda.is_available() else None


@lru_cache(maxsize=256)
def stream_of(device: torch.device, name: Hashable) -> torch.cuda.Stream:
    """Return the stream of a name, made once."""
    return torch.cuda.Stream(device)


def recorded(device: torch.device, *works: Callable[[], None], memory: Memory | None = None) -> list[Callable[[], None]]:
    """Return what repeats the launches of each work, in this order; what a work allocates stays where it is.

    PyTorch's own stream for recording is of the device that it met first: launches on another would not be recorded.

    memory  default: their own
    """
    stream = stream_of(device, "recording")
    graphs, memory = [torch.cuda.CUDAGraph() for _ in works], memory or torch.cuda.graph_pool_handle()
    for graph, work in zip(graphs, works, strict=True):
        with torch.cuda.graph(graph, memory, stream, "thread_local"):  # others may allocate meanwhile
            work()
    return [graph.replay for graph in graphs]


def store() -> OrderedDict[Hashable, Any]:
    """Return a place for what was recorded, by its kind, which `forget` empties."""
    _STORES.append(OrderedDict())
    return _STORES[-1]


def forget() -> None:
    """Drop all that was recorded, with its memory."""
    for kept in _STORES:
        kept.clear()


@contextmanager
def keeping(things: list[object]) -> Iterator[None]:
    """Mark that something is being recorded, which adds to `things` what must live as long as the record."""
    _KEEPING.append(things)
    try:
        yield
    finally:
        _KEEPING.pop()


def under_way() -> bool:
    """Return whether a whole function is being recorded: then nothing within is recorded by itself."""
    return bool(_KEEPING)


def keep(*things: object) -> None:
    """Keep things from caches as long as what is being recorded, if anything is: a replay reads the same memory."""
    for kept in _KEEPING:
        kept.extend(things)
