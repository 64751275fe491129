"""Say how a run ended, and let a signal ask it to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True)
class Outcome:
    """Describe how a run ended."""

    failed_images: int
    """Images that could not be attacked, in this run or an earlier one."""
    failed_units: tuple[str, ...]
    """Names of the units that were given up, in this run or an earlier one."""
    stopped_by: int
    """The signal that ended the run early, or 0."""
    refused: str = ""
    """Why the store or the cluster ended the run; empty if neither did."""
    blind_images: int = 0
    """Images that were attacked without a gradient, in this run or an earlier one; their accuracy says nothing."""

    @property
    def exit_code(self) -> int:
        """Return the exit code of a command: 128 + signal if stopped, 1 if anything failed, else 0."""
        if self.stopped_by:
            return 128 + self.stopped_by
        return 1 if self.failed_images or self.failed_units or self.refused or self.blind_images else 0


@dataclass
class Stop:
    """Hold whether a run was asked to stop (`drain` is set), and by which signal."""

    drain: threading.Event
    signal: int = 0


def end_at_once(number: int, frame: object = None) -> NoReturn:
    """End this process with the exit code of a signal, 128 + its number; what it holds is closed on the way."""
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def stopping(say: Callable[[str], None] = lambda line: None) -> Iterator[Stop]:
    """Handle SIGINT and SIGTERM: the first asks the workers to write checkpoints and leave, a second ends the run at once.

    `say` shows one line to a person when the first comes; default: nothing is shown. Does nothing outside the main thread,
    where Python allows no signal handlers.
    """
    stop = Stop(threading.Event())

    def ask(number: int, frame: object) -> None:
        if stop.drain.is_set():
            end_at_once(number)
        stop.signal = number
        stop.drain.set()
        say(f"{signal.Signals(number).name}: workers write their checkpoints and leave; a second signal ends the run at once")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
