"""Define what an executor does."""

import threading
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from pipeline.execution.protocol import Event, Job, Unit, UnitT
from pipeline.execution.queue import Failed, Queue

JobT_contra = TypeVar("JobT_contra", bound=Job, contravariant=True)
EventT_co = TypeVar("EventT_co", bound=Event[Unit], covariant=True)


class Executor(Protocol[JobT_contra, UnitT, EventT_co]):
    """Do units of a job, in this process or on a cluster."""

    @property
    def workers(self) -> int:
        """Return how many units can be worked on at once, as far as is known now; at least 1."""

    def execute(
        self, job: JobT_contra, units: "Iterable[UnitT] | Queue[UnitT]", drain: threading.Event
    ) -> Iterator[EventT_co | Failed[UnitT]]:
        """Do units until all are finished or given up, or `drain` is set and the running ones have written a checkpoint.

        Yields events as they come. `units` is an iterable, or a `Queue`, to which the caller may add units between events.
        Raises StorageError, which stops the run: it is no unit's fault.
        """
        ...

    def close(self) -> None:
        """End what the executor started."""
        ...
