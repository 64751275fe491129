"""One worker in this process, for a debugger and for machines without Ray."""

import os
import socket
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from pipeline.errors import Drained, StorageError
from pipeline.execution.protocol import Begin, Units, device, name, shard_at_fault
from pipeline.execution.queue import Queue


class LocalExecutor:
    """Units one after the other, in this process."""

    workers = 1

    def __init__(self, begin: Begin) -> None:
        self.begin = begin

    def close(self) -> None:
        """Nothing was started."""

    def execute(self, job: Any, units: Units, drain: threading.Event) -> Iterator[Any]:
        """Events of all units, in turn."""
        work, queue, worker = self.begin(job, device(), drain), Queue.of(units), name(socket.gethostname(), os.getpid())
        while not drain.is_set() and (unit := queue.take(worker)) is not None:
            try:
                yield from work(unit)
                queue.finished(unit)
            except Drained:
                return
            except StorageError:
                raise
            except Exception as error:
                yield queue.failed(unit, traceback.format_exc(), worker, shard_at_fault(error))
