"""Go on with a campaign under faults for some hours: runs are killed at seeded moments, and resumed until all is done."""

import ctypes
import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.long.record import Record, folders
from tests.chaos.alone import Alone, Driver
from tests.chaos.faults import FAULTS
from tests.support import processes

STRIKES = ("kill -9 of an actor", "kill -9 of the driver", "SIGTERM of the driver")
"""Faults of `tests.chaos` that may strike."""

ENDINGS = 3
"""Runs in a row that may end of their own accord before their work is done, as where Ray finds no room to start."""

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): what a killed run leaves behind becomes this process's child, and is seen."""


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
            FAULTS[name](Alone(driver, chance))
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
