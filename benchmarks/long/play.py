"""Play a campaign under faults for some hours: runs are killed at seeded moments, and resumed until all is done."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.long.record import Record, folders
from tests.chaos.faults import FAULTS
from tests.chaos.scene import Told
from tests.support import processes

ROOT = Path(__file__).parents[2]

STRIKES = ("kill -9 of an actor", "kill -9 of the driver", "SIGTERM of the driver")
"""Faults of `tests.chaos` that may strike."""

ENDINGS = 3
"""Runs in a row that may end of their own accord before their work is done, as where Ray finds no room to start."""

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): what a killed run leaves behind becomes this process's child, and is seen."""


class Driver:
    """`barrage run` as a process of its own; what it says is in the file `output`."""

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
class Scene:
    """Hold what faults of `tests.chaos` use of their scene: the run, and a source of chance."""

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


@dataclass(frozen=True)
class Play:
    """Hold what is played: a campaign file, its store and record; the seed of strikes, and their mean distance in minutes."""

    campaign: Path
    store: Path
    record: Path
    seed: int
    minutes: float
    workers: int | None = None

    def run(self, hours: float) -> None:
        """Go on with the campaign for some hours, or until all is done. SIGTERM ends this piece earlier."""
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        ray, temporary = self.record / "ray", self.record / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        with Record(self.record, lambda: folders(self.store, ray / "ray", temporary)) as record:
            self._go(record, time.monotonic() + 3600 * hours, {"RAY_TMPDIR": str(ray), "TMPDIR": str(temporary)})

    def _go(self, record: Record, end: float, environment: dict[str, str]) -> None:
        driver, endings = self._driver(record, environment), 0
        try:
            while time.monotonic() < end and driver.code != 0 and endings < ENDINGS:
                chance = random.Random(f"{self.seed} {record.strikes}")
                moment = min(end, time.monotonic() + 60 * chance.uniform(0.4, 1.6) * self.minutes)
                while time.monotonic() < moment and not driver.over:
                    self._wait(driver)
                if driver.over:
                    record.strike("end of its own accord", driver.code)
                    endings += 1
                elif time.monotonic() < end:
                    self._strike(record, driver, chance)
                    endings = 0
                if driver.over and driver.code != 0 and time.monotonic() < end:
                    driver = self._driver(record, environment)
        finally:
            driver.kill(signal.SIGTERM)
            processes.until(lambda: driver.over, "the run to end")
        print(f"{record.strikes} strikes; the last run: {driver.said.rstrip().splitlines()[-1:]}")

    def _wait(self, driver: Driver) -> None:
        """Wait a second; take leave of children of dead runs that have ended."""
        time.sleep(1)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        for child in {int(child) for child in children} - {driver.pid}:
            with suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)

    def _strike(self, record: Record, driver: Driver, chance: random.Random) -> None:
        name = chance.choice(STRIKES)
        try:
            FAULTS[name](Scene(driver, chance))
        except AssertionError as error:
            name = f"{name}: wrong: {' '.join(str(error).replace(',', ';').split())[-200:]}"
        record.strike(name, driver.code)
        print(f"{time.strftime('%H:%M:%S')} {name}, exit code {driver.code}", flush=True)

    def _driver(self, record: Record, environment: dict[str, str]) -> Driver:
        content = yaml.safe_load(self.campaign.read_text())
        if self.workers:
            content["workers"] = content.get("workers", {}) | {"count": self.workers}
        path = record.folder / self.campaign.name
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return Driver(record.folder / f"run-{record.strikes:04d}.txt", [str(path), "--store", str(self.store)], environment)
