"""Run a worker as a Ray actor: one thread does the work, another exchanges units and events with the driver."""

import os
import signal
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

import torch

from pipeline.errors import Drained, StorageError
from pipeline.execution.protocol import Begin, EventT, JobT, UnitT, Work
from pipeline.execution.worker import device_of, gpu_is_broken, keep_memory, shard_fault

LEAVE_SECONDS = 25.0
"""From the notice to leave until a worker has ended, whatever it is doing; a spot machine grants 30 s or more."""


def given_gpus() -> int:
    """Return how many GPUs Ray gave this actor, a share of one counting as one.

    Its process may see more: Ray hides none from an actor that asked for none.
    """
    import ray

    return len(ray.get_runtime_context().get_accelerator_ids().get("GPU", ()))


@dataclass(frozen=True)
class Location:
    """Say where an actor runs: host name, process id, and Ray's id of the node."""

    host: str
    pid: int
    node: str


@dataclass(frozen=True)
class Ended(Generic[UnitT]):
    """Report the end of an attempt. It finished if no other field is set."""

    unit: UnitT
    error: str = ""
    """The traceback of a failed attempt."""
    shard: str = ""
    """Why the unit's shard can't be used, if that is the reason of the failure."""
    drained: bool = False
    """Whether the unit was left on request, with a checkpoint."""
    refused: str = ""
    """Why the store refused; the run must end."""


@dataclass(frozen=True)
class Report(Generic[UnitT, EventT]):
    """Hold what happened in an actor since its last report."""

    events: list[EventT]
    """The newest event of each kind for each unit, in order."""
    ended: list[Ended[UnitT]]
    leaving: str
    """Why the actor takes no more units; empty while it does."""
    current: UnitT | None
    """The unit that is being worked on."""


@dataclass
class Actor(Generic[JobT, UnitT, EventT]):
    """Do units in a thread of its own. Ray calls the public methods in the main thread, which also gets the signals.

    On SIGTERM (the notice of a spot machine, a drained node, Slurm) the current unit writes its checkpoint. The process ends as
    soon as the driver has heard of it, and LEAVE_SECONDS later at the latest.
    """

    job: JobT
    begin: Begin[JobT, UnitT, EventT]
    leaving: str = field(init=False, default="")

    def __post_init__(self) -> None:
        """Start the thread that works."""
        self._drain = threading.Event()
        self._changed = threading.Condition()
        self._waiting: deque[UnitT] = deque()
        self._current: UnitT | None = None
        self._leave_reported = False
        self._events: dict[tuple[type, UnitT], EventT] = {}
        self._ended: list[Ended[UnitT]] = []
        self._work: Work[UnitT, EventT] | None = None
        signal.signal(signal.SIGTERM, self._on_sigterm)
        keep_memory()
        threading.Thread(target=self._serve, daemon=True).start()

    def locate(self) -> Location:
        """Return where the actor runs. An answer means that it is ready."""
        import ray

        return Location(socket.gethostname(), os.getpid(), ray.get_runtime_context().get_node_id())

    def exchange(self, units: Sequence[UnitT], leave: bool, seconds: float) -> Report[UnitT, EventT]:
        """Take units and return a report: once all units have ended, once the actor is to leave, or after `seconds`.

        Units that were not begun by then are forgotten; the driver hands them out anew.
        """
        with self._changed:
            if leave:
                self._leave("the run asked it to stop")
            self._waiting.extend(units)
            self._changed.notify_all()
            idle, known, end = not self._waiting and self._current is None, self.leaving, time.monotonic() + seconds
            while self._nothing_to_report(idle, known) and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._report()

    def _nothing_to_report(self, idle: bool, known: str) -> bool:
        """Return whether a report can wait: `idle` and `known` are whether there was work, and why to leave, at first."""
        if self.leaving:
            return self._current is not None and self.leaving == known
        return idle or self._current is not None or bool(self._waiting)

    def _report(self) -> Report[UnitT, EventT]:
        events, ended = list(self._events.values()), self._ended
        self._events, self._ended = {}, []
        self._waiting.clear()  # they must not wait behind a long unit: the driver hands them out anew
        if self.leaving:
            self._leave_reported = self._current is None
            self._changed.notify_all()
        return Report(events, ended, self.leaving, self._current)

    def _serve(self) -> None:
        """Work until the actor is to leave."""
        torch.set_num_threads(max(1, int(self.job.workers.cpus)))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self.leaving)
                if self.leaving:
                    return
                unit = self._current = self._waiting.popleft()
            ended = self._attempt(unit)
            with self._changed:
                self._ended.append(ended)
                self._current = None
                self._changed.notify_all()

    def _attempt(self, unit: UnitT) -> Ended[UnitT]:
        """Do a unit; collect its events."""
        try:
            if self._work is None:
                self._work = self.begin(self.job, device_of(given_gpus()), self._drain)
            for event in self._work(unit):
                with self._changed:
                    self._events[type(event), unit] = event
            return Ended(unit)
        except Drained:
            return Ended(unit, drained=True)
        except StorageError as error:
            return Ended(unit, refused=str(error))
        except BaseException as error:  # the driver counts whatever a unit raises
            if gpu_is_broken(error):
                self._retire("its GPU is broken")
            return Ended(unit, traceback.format_exc(), shard_fault(error))

    def _on_sigterm(self, number: int, frame: object) -> None:
        """End this actor after SIGTERM. The interrupted main thread may hold the lock, so another thread takes it."""
        threading.Thread(target=self._retire, args=("SIGTERM asked it to leave",), daemon=True).start()

    def _retire(self, why: str) -> None:
        """Take no more units, and end the process."""
        with self._changed:
            self._leave(why)
        threading.Thread(target=self._exit, daemon=True).start()

    def _leave(self, why: str) -> None:
        self.leaving = self.leaving or why
        self._drain.set()
        self._changed.notify_all()

    def _exit(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._leave_reported, LEAVE_SECONDS)
        time.sleep(1)  # so that the last report can be sent
        os._exit(0)
