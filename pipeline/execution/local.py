"""One worker in this process, for a debugger and for machines without Ray."""

import os
import socket
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from pipeline.executors.base import Begin, Units, attacking, device, name, shard_at_fault
from pipeline.files import Refused
from pipeline.queue import Queue
from pipeline.worker import Drained


class Here:
    """Units one after the other, in this process."""

    workers = 1

    def __init__(self, begin: Begin = attacking) -> None:
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
            except Refused:
                raise
            except Exception as error:
                yield queue.failed(unit, traceback.format_exc(), worker, shard_at_fault(error))
