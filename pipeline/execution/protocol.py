"""What an executor is, and what it needs of a job."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch

from pipeline.config.fields import Share
from pipeline.errors import ShardUnusable
from pipeline.execution.queue import Queue


class Spread(Protocol):
    """What an executor knows of a job."""

    @property
    def name(self) -> str:
        """What the campaign or training is called."""

    @property
    def workers(self) -> Share:
        """What each worker gets of a cluster."""


Work = Callable[[Any], Iterator[Any]]
"""What a worker does with a unit: events, until it is done. Raises Drained."""

Begin = Callable[[Any, torch.device, threading.Event], Work]
"""A worker for (job, device, drain), with what it loads once for all its units."""


Units = Iterable[Any] | Queue


class Executor(Protocol):
    """What `run` needs."""

    @property
    def workers(self) -> int:
        """How many units are worked on at once, as far as is known."""

    def execute(self, job: Any, units: Units, drain: threading.Event) -> Iterator[Any]:
        """Works on units until all are finished or failed, or `drain` is set and the running ones are checkpointed. Whoever
        hears an event may add units to the queue. Raises StorageError, which is no unit's fault."""
        ...

    def close(self) -> None:
        """Ends what the executor started."""
        ...


def name(host: str, pid: int) -> str:
    """What a worker is called."""
    return f"{pid}@{host}"


def shard_at_fault(error: BaseException) -> str:
    """Why a unit's shard can not be used, if that is what an attempt failed at."""
    return str(error) if isinstance(error, ShardUnusable) else ""


def device() -> torch.device:
    """Where this process computes."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
