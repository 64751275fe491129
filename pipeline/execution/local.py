"""Run units in this process: for a debugger, and for machines without Ray."""

import os
import socket
import threading
import traceback
from collections.abc import Iterable, Iterator
from typing import Generic

from pipeline.errors import Drained, StorageError
from pipeline.execution.protocol import Begin, EventT, JobT, UnitT
from pipeline.execution.queue import Failed, Queue
from pipeline.execution.worker import device_of, keep_memory, shard_fault, worker_name


class LocalExecutor(Generic[JobT, UnitT, EventT]):
    """Do units one after the other, in this process."""

    workers = 1

    def __init__(self, begin: Begin[JobT, UnitT, EventT]) -> None:
        self.begin = begin

    def close(self) -> None:
        """Do nothing: nothing was started."""

    def execute(
        self, job: JobT, units: Iterable[UnitT] | Queue[UnitT], drain: threading.Event
    ) -> Iterator[EventT | Failed[UnitT]]:
        """Yield the events of all units in turn; see `Executor.execute`."""
        keep_memory()
        work, queue = self.begin(job, device_of(job.workers.gpus), drain), Queue.of(units)
        worker = worker_name(socket.gethostname(), os.getpid())
        while not drain.is_set() and (unit := queue.take(worker)) is not None:
            try:
                yield from work(unit)
                queue.finished(unit)
            except Drained:
                return
            except StorageError:
                raise
            except Exception as error:
                yield queue.failed(unit, traceback.format_exc(), worker, shard_fault(error))
