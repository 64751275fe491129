"""One run on this machine as the scene of faults: without a ground, with the Ray that it starts itself."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.scene import Told
from tests.support import processes


class Driver:
    """Hold `barrage run` as a process of its own; what it says is in the file `output`."""

    def __init__(self, output: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self._output = output
        with output.open("w") as file:
            command = [sys.executable, "-m", "pipeline", "run", *arguments]
            self._process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | environment)

    @property
    def pid(self) -> int:
        """Return the id of its process."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None

    @property
    def code(self) -> int | None:
        """Return its exit code; negative for a signal, None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """Return what it wrote so far."""
        return self._output.read_text(errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Alone:
    """Hold what faults that strike a run or its workers use of their scene: the run, and a source of chance."""

    driver: Driver
    chance: random.Random
    told: Told = field(default_factory=Told)

    def until(self, condition: Callable[[], object], what: str) -> object:
        """Wait until a condition holds."""
        return processes.until(condition, what)

    def over(self, driver: Driver) -> Driver:
        """Wait for the end of a run."""
        self.until(lambda: driver.over, "the end of a run")
        return driver

    def victim(self) -> int | None:
        """Return an actor that is at work, or None as the run is over."""
        found = self.until(lambda: processes.actors(os.getpid()) or (self.driver.over and [None]), "an actor")
        return None if found == [None] else self.chance.choice(sorted(found))  # type: ignore[call-overload]
