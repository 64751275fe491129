"""What a person sees while a campaign or a training runs: a bar in a terminal, plain lines in a log."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from pipeline.job import Job
from pipeline.plan import Unit
from pipeline.queue import Failed
from pipeline.trainer import Step, Trained
from pipeline.training import TrainingJob
from pipeline.worker import Finished, Progress

LINE_SECONDS = 15.0
"""Between two lines of a log."""


class Pace:
    """Draw-gradients done and to do, and the time that is left at the pace of each cell so far."""

    def __init__(self, job: Job, units: Sequence[Unit], workers: int) -> None:
        self._cells = job.cells
        self._costs = {name: cell.cost for name, cell in self._cells.items()}
        self._workers = max(1, min(workers, len(units)))
        self._left: Counter[str] = Counter()
        for unit in units:
            self._left[unit.cell] += self._cost(unit)
        self.total = self._left.total()
        self._running: dict[Unit, tuple[int, int]] = {}  # left and spent, draw-gradients
        self._spent = 0  # by units that are through
        self._pace: dict[str, float] = {}  # seconds a draw-gradient, of one worker
        self._began = time.monotonic()

    def _cost(self, unit: Unit) -> int:
        return unit.images * self._costs[unit.cell].gradients

    def saw(self, event: Progress | Finished) -> None:
        """A unit went on, or is through."""
        unit = event.unit
        share = event.step / event.steps if isinstance(event, Progress) else 1.0
        left, before = round(self._cost(unit) * (1 - share)), self._running.pop(unit, (self._cost(unit), 0))
        self._left[unit.cell] += left - before[0]
        if isinstance(event, Progress):
            self._running[unit] = (left, event.draw_gradients)
        else:
            self._spent += event.draw_gradients
        if event.draw_gradients:
            self._pace[unit.cell] = event.seconds / event.draw_gradients

    def lost(self, failed: Failed) -> None:
        """An attempt came to nothing; what it did is still spent."""
        unit = failed.unit
        left, spent = self._running.pop(unit, (self._cost(unit), 0))
        self._left[unit.cell] += (0 if failed.final else self._cost(unit)) - left
        self._spent += spent

    def forget(self, units: Sequence[Unit]) -> None:
        """Units that will not be begun."""
        for unit in units:
            self._left[unit.cell] -= self._cost(unit)
            self.total -= self._cost(unit)

    @property
    def to_do(self) -> int:
        """Draw-gradients left."""
        return self._left.total()

    @property
    def rate(self) -> float:
        """Draw-gradients a second of all workers since the start."""
        done = self._spent + sum(spent for _, spent in self._running.values())
        return done / max(1e-9, time.monotonic() - self._began)

    @property
    def seconds_left(self) -> float | None:
        """None until something was measured; a cell not yet seen is taken to cost as its k suggests."""
        if not self._pace:
            return None
        known = next(iter(self._pace))
        a_fold = self._pace[known] / (1 + self._cells[known].defense.k / 5)
        paces = {cell: self._pace.get(cell, a_fold * (1 + self._cells[cell].defense.k / 5)) for cell in self._left}
        return sum(left * paces[cell] for cell, left in self._left.items()) / self._workers


class Reporter:
    """Shows a run's events on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: Job, units: Sequence[Unit], workers: int) -> Iterator[None]:
        """While a run goes on."""
        self._pace, self._said = Pace(job, units, workers), time.monotonic()
        self._images, self._of = 0, sum(unit.images for unit in units)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn()
        self._bar = Bar(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._bar.add_task("attacking", total=self._pace.total, text="")
        with self._bar:
            yield
            self._show(force=True)

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False, highlight=False)

    def ended(self, units: Sequence[Unit], said: str) -> None:
        """Units that nobody needs any more, and why."""
        self.say(said)
        self._pace.forget(units)
        self._of -= sum(unit.images for unit in units)

    def progress(self, event: Progress) -> None:
        self._pace.saw(event)
        self._show()

    def finished(self, event: Finished) -> None:
        self._pace.saw(event)
        self._images += event.unit.images
        self._show()

    def failed(self, event: Failed) -> None:
        self._pace.lost(event)
        fate = "parked" if event.final else "back to the queue"
        self.console.print(
            f"{event.unit.name}: {last_line(event.error)}; {fate}", style="yellow", markup=False, highlight=False
        )

    def _show(self, force: bool = False) -> None:
        seconds = self._pace.seconds_left
        left = "time left unknown" if seconds is None else f"{clock(seconds)} left"
        text = f"{self._images}/{self._of} images, {self._pace.rate:.1f} draw-gradients/s, {left}"
        total = self._pace.total
        self._bar.update(self._task, completed=total - self._pace.to_do, total=total, text=text)
        if not self.console.is_terminal and (force or time.monotonic() - self._said > LINE_SECONDS):
            self._said = time.monotonic()
            self.console.print(text, highlight=False)


class TrainingReporter:
    """Shows a training's events on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: TrainingJob, transforms: Sequence[str]) -> Iterator[None]:
        """While a training goes on."""
        self._of, self._steps = len(job.training.transforms), job.training.steps
        self._done = self._of - len(transforms)
        self._began = self._said = time.monotonic()
        self._at = {name: job.training.steps for name in job.training.transforms} | dict.fromkeys(transforms, 0)
        self._fresh: Counter[str] = Counter()
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn()
        self._bar = Bar(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._bar.add_task("training", total=self._of * self._steps, text="")
        with self._bar:
            yield
            self._show("", force=True)

    def progress(self, event: Step) -> None:
        self._at[event.transform], self._fresh[event.transform] = event.step, event.fresh
        self._show(f", loss of {event.transform} {event.loss:.2g}")

    def finished(self, event: Trained) -> None:
        entry = event.entry
        self._done += 1
        self._at[entry.transform], self._fresh[entry.transform] = self._steps, event.fresh
        self._show(f", error of {entry.transform} {entry.error:.2g}, of the identity {entry.identity_error:.2g}", force=True)

    def failed(self, event: Failed) -> None:
        fate = "given up for this run" if event.final else "back to the queue"
        text = f"{event.unit}: {last_line(event.error)}; {fate}"
        self.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def _show(self, more: str, force: bool = False) -> None:
        rate = self._fresh.total() / max(1e-9, time.monotonic() - self._began)
        at = sum(self._at.values())
        left = f", {clock((self._of * self._steps - at) / rate)} left" if rate else ""
        text = f"{self._done}/{self._of} transforms, {rate:.1f} steps/s{left}{more}"
        self._bar.update(self._task, completed=at, text=text)
        if not self.console.is_terminal and (force or time.monotonic() - self._said > LINE_SECONDS):
            self._said = time.monotonic()
            self.console.print(text, highlight=False, soft_wrap=True)


def last_line(error: str) -> str:
    """Of a traceback: what was wrong."""
    return error.strip().splitlines()[-1]


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 under an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
