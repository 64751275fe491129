"""What a person sees while a campaign runs: a bar in a terminal, plain lines in a log."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from pipeline.executors import Failed
from pipeline.job import Job
from pipeline.plan import Unit
from pipeline.worker import Finished, Progress

LINE_SECONDS = 15.0
"""Between two lines of a log."""


class Pace:
    """Draw-gradients done and to do, and the time that is left at the pace of each cell so far."""

    def __init__(self, job: Job, units: Sequence[Unit], workers: int) -> None:
        self._cost = {cell.name: cell.draw_gradients for cell in job.campaign.grid()}
        self._k = {cell.name: cell.defense.k for cell in job.campaign.grid()}
        self._workers = max(1, min(workers, len(units)))
        self._left = {unit: unit.images * self._cost[unit.cell] for unit in units}
        self._spent: dict[Unit, tuple[int, float]] = {}  # this run's draw-gradients and seconds
        self._steps_seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def saw(self, progress: Progress) -> None:
        unit = progress.unit
        self._left[unit] = round(unit.images * self._cost[unit.cell] * (1 - progress.step / progress.steps))
        self._spent[unit] = (progress.draw_gradients, progress.seconds)
        if progress.draw_gradients:
            self._steps_seconds[unit.cell] = progress.seconds / progress.draw_gradients

    def finished(self, finished: Finished) -> None:
        self._left[finished.unit] = 0
        self._spent[finished.unit] = (finished.draw_gradients, finished.seconds)

    @property
    def done(self) -> int:
        return sum(count for count, _ in self._spent.values())

    @property
    def rate(self) -> float:
        """Draw-gradients a second of all workers since the start."""
        return self.done / max(1e-9, time.monotonic() - self._began)

    @property
    def seconds_left(self) -> float | None:
        """None until something was measured; a cell not yet seen is taken to cost as its k suggests."""
        if not self._steps_seconds:
            return None
        known, seconds = next(iter(self._steps_seconds.items()))
        total = 0.0
        for unit, left in self._left.items():
            guess = seconds * (1 + self._k[unit.cell] / 5) / (1 + self._k[known] / 5)
            total += left * self._steps_seconds.get(unit.cell, guess)
        return total / self._workers


class Reporter:
    """Shows a run's events on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: Job, units: Sequence[Unit], workers: int) -> Iterator[None]:
        """While a run goes on."""
        self._pace, self._said = Pace(job, units, workers), time.monotonic()
        self._images = 0
        total = sum(unit.images for unit in units)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images  {task.fields[rate]}  {task.fields[left]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._total = total
        self._task = self._bar.add_task("attacking", total=total, rate="", left="")
        with self._bar:
            yield
            self._show(force=True)

    def progress(self, event: Progress) -> None:
        self._pace.saw(event)
        self._show()

    def finished(self, event: Finished) -> None:
        self._pace.finished(event)
        self._images += event.unit.images
        self._show()

    def failed(self, event: Failed) -> None:
        last = event.error.strip().splitlines()[-1]
        fate = "given up for this run" if event.final else "back to the queue"
        self.console.print(f"[yellow]{event.unit.name}: {last}; {fate}", markup=True, highlight=False)

    def _show(self, force: bool = False) -> None:
        rate = f"{self._pace.rate:.1f} draw-gradients/s"
        seconds = self._pace.seconds_left
        left = "" if seconds is None else f"{clock(seconds)} left"
        self._bar.update(self._task, completed=self._images, rate=rate, left=left)
        if not self.console.is_terminal and (force or time.monotonic() - self._said > LINE_SECONDS):
            self._said = time.monotonic()
            self.console.print(f"{self._images}/{self._total} images, {rate}, {left or 'time left unknown'}")


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 under an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
