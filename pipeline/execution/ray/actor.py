"""A worker as a Ray actor: a thread that works, and a desk in front of it where the driver leaves units and hears events."""

import os
import signal
import socket
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch

from pipeline.errors import Drained, StorageError
from pipeline.execution.protocol import Begin, Spread, Work, device, shard_at_fault

LEAVE_SECONDS = 25.0
"""From the notice to leave until a worker is gone, whatever it is in the middle of; a spot machine grants 30 s or more."""


@dataclass(frozen=True)
class Where:
    """Where an actor lives."""

    host: str
    pid: int
    node: str


@dataclass(frozen=True)
class Ended:
    """The end of an attempt: finished, or drained, or with the traceback of an error (and, if the shard is at fault, the reason
    in one line), or with the store's reason to refuse."""

    unit: Any
    error: str = ""
    shard: str = ""
    drained: bool = False
    refused: str = ""


@dataclass(frozen=True)
class Report:
    """What an actor has to tell since it was last asked."""

    events: list[Any]
    """The newest of each kind for each unit, in order."""
    ended: list[Ended]
    leaving: str
    """Why the actor takes no more units; empty while it does."""
    now: Any
    """The unit in hand, or None."""


def broken(error: BaseException) -> bool:
    """Whether an error leaves the process without a usable GPU."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return False
    kinds = getattr(torch, "AcceleratorError", ()), getattr(torch.cuda, "DeferredCudaCallError", ())
    return isinstance(error, kinds) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


@dataclass
class Actor:
    """Ray runs its methods in the main thread, where signals are heard too; the work has a thread of its own.

    A SIGTERM (a spot machine's notice, a drained node, Slurm) lets the unit in hand write its checkpoint. The process ends
    LEAVE_SECONDS later at the latest, and as soon as the driver has heard.
    """

    job: Spread
    begin: Begin
    leaving: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._drain = threading.Event()
        self._changed = threading.Condition()
        self._units: deque[Any] = deque()
        self._now: Any = None
        self._told = False
        self._events: dict[Any, Any] = {}
        self._ended: list[Ended] = []
        self._work: Work | None = None
        signal.signal(signal.SIGTERM, self._noticed)
        threading.Thread(target=self._serve, daemon=True).start()

    def where(self) -> Where:
        """Says that the actor is ready."""
        import ray

        return Where(socket.gethostname(), os.getpid(), ray.get_runtime_context().get_node_id())

    def turn(self, units: list[Any], drain: bool, seconds: float) -> Report:
        """Takes units; answers when all are through, when it is to leave, and after `seconds` in any case."""
        with self._changed:
            if drain:
                self._leave("told to stop")
            self._units.extend(units)
            self._changed.notify_all()
            idle, known, end = not self._units and self._now is None, self.leaving, time.monotonic() + seconds
            while self._waiting(idle, known) and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._report()

    def _waiting(self, idle: bool, known: str) -> bool:
        """Whether there is nothing to say before the time is over."""
        if self.leaving:
            return self._now is not None and self.leaving == known
        return idle or self._now is not None or bool(self._units)

    def _report(self) -> Report:
        events, ended = list(self._events.values()), self._ended
        self._events, self._ended = {}, []
        self._units.clear()  # they are not to wait for a long one: the driver shares them out anew
        if self.leaving:
            self._told = self._now is None
            self._changed.notify_all()
        return Report(events, ended, self.leaving, self._now)

    def _serve(self) -> None:
        torch.set_num_threads(max(1, int(self.job.workers.cpus)))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._units or self.leaving)
                if self.leaving:
                    return
                unit = self._now = self._units.popleft()
            ended = self._attempt(unit)
            with self._changed:
                self._ended.append(ended)
                self._now = None
                self._changed.notify_all()

    def _attempt(self, unit: Any) -> Ended:
        try:
            if self._work is None:
                self._work = self.begin(self.job, device(), self._drain)
            for event in self._work(unit):
                with self._changed:
                    self._events[type(event), unit] = event
            return Ended(unit)
        except Drained:
            return Ended(unit, drained=True)
        except StorageError as error:
            return Ended(unit, refused=str(error))
        except BaseException as error:  # whatever a unit raises is the driver's to count
            if broken(error):
                self._retire("its GPU is broken")
            return Ended(unit, traceback.format_exc(), shard_at_fault(error))

    def _noticed(self, number: int, frame: object) -> None:
        """Of SIGTERM. The main thread may be anywhere, with the lock in its hand: another one does what is to be done."""
        threading.Thread(target=self._retire, args=("it was told to leave by SIGTERM",), daemon=True).start()

    def _retire(self, why: str) -> None:
        """Takes no more units, and ends the process."""
        with self._changed:
            self._leave(why)
        threading.Thread(target=self._exit, daemon=True).start()

    def _leave(self, why: str) -> None:
        self.leaving = self.leaving or why
        self._drain.set()
        self._changed.notify_all()

    def _exit(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._told, LEAVE_SECONDS)
        time.sleep(1)  # for the last report to be on its way
        os._exit(0)
