"""How a run ends, and how a signal asks it to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `failed_units` names those that were given up, in this run or an earlier one; `stopped_by` is the
    signal that ended it early, or 0; `refused` says why it could not go on."""

    failed_images: int
    failed_units: tuple[str, ...]
    stopped_by: int
    refused: str = ""

    @property
    def exit_code(self) -> int:
        if self.stopped_by:
            return 128 + self.stopped_by
        return 1 if self.failed_images or self.failed_units or self.refused else 0


@dataclass
class Stop:
    """That a run was told to stop, and by which signal."""

    drain: threading.Event
    signal: int = 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM asks the workers to checkpoint and leave; a second one ends at once."""
    stop = Stop(threading.Event())

    def ask(number: int, frame: object) -> None:
        if stop.drain.is_set():
            raise KeyboardInterrupt
        stop.signal = number
        stop.drain.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
