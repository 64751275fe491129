"""What a person sees while a campaign or a training runs: a bar in a terminal, plain lines in a log."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from pipeline.campaigns.job import Job
from pipeline.campaigns.worker import Finished, Progress
from pipeline.execution.queue import Failed
from pipeline.planning import cost, time_left
from pipeline.planning.time_left import clock
from pipeline.planning.units import Unit
from pipeline.training.bpda_job import BpdaJob
from pipeline.training.bpda_trainer import NetworkProgress, NetworkTrained

LINE_SECONDS = 15.0
"""Between two lines of a log."""


@dataclass
class _Under:
    """A unit under way: its share done, in [0, 1], when this attempt began and now, and what the attempt has spent."""

    began: float
    share: float
    draw_gradients: int = 0


class Pace:
    """Images done and to do, and the time that is left at the pace of each cell so far."""

    def __init__(self, job: Job, units: Sequence[Unit], workers: int) -> None:
        cells = job.cells
        self._gradients = {name: cell.cost.gradients for name, cell in cells.items()}
        self._weights = {n: cost.cell_weight(c) for n, c in cells.items()}
        self._workers = max(1, min(workers, len(units)))
        self._left: dict[str, float] = dict.fromkeys(cells, 0.0)  # images
        for unit in units:
            self._left[unit.cell] += unit.images
        self._whole = self._weight
        self._under: dict[Unit, _Under] = {}
        self._spent = 0  # draw-gradients, by attempts that are over
        self._prices: dict[str, float] = {}  # device-seconds an image
        self._began = time.monotonic()

    @property
    def _weight(self) -> float:
        return sum(images * self._weights[cell] for cell, images in self._left.items())

    def saw(self, event: Progress | Finished) -> None:
        """A unit went on, or is through."""
        unit = event.unit
        share = event.step / event.steps if isinstance(event, Progress) else 1.0
        under = self._under.pop(unit, None) or _Under(share if isinstance(event, Progress) else 0.0, 0.0)
        self._left[unit.cell] -= unit.images * (share - under.share)
        if share > under.began and event.seconds:
            self._prices[unit.cell] = event.seconds / (unit.images * (share - under.began))
        if isinstance(event, Progress):
            self._under[unit] = _Under(under.began, share, event.draw_gradients)
        else:
            self._spent += event.draw_gradients

    def lost(self, failed: Failed) -> None:
        """An attempt came to nothing; what it did is still spent."""
        unit = failed.unit
        under = self._under.pop(unit, None) or _Under(0.0, 0.0)
        self._left[unit.cell] += unit.images * (under.share - failed.final)
        self._spent += under.draw_gradients

    @property
    def share(self) -> float:
        """Of the work of this run, in [0, 1]."""
        return 1 - self._weight / self._whole if self._whole else 1.0

    def forget(self, units: Sequence[Unit]) -> None:
        """Units that will not be begun."""
        for unit in units:
            self._left[unit.cell] -= unit.images
            self._whole -= unit.images * self._weights[unit.cell]

    @property
    def to_do(self) -> int:
        """Draw-gradients left."""
        return round(sum(images * self._gradients[cell] for cell, images in self._left.items()))

    @property
    def rate(self) -> float:
        """Draw-gradients a second of all workers since the start."""
        done = self._spent + sum(under.draw_gradients for under in self._under.values())
        return done / max(1e-9, time.monotonic() - self._began)

    @property
    def seconds_left(self) -> float | None:
        """None until something was measured."""
        prices = time_left.prices(self._prices, self._weights)
        return time_left.seconds_left(self._left, prices, self._workers) if prices else None


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
        self._task = self._bar.add_task("attacking", total=1.0, text="")
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
        fate = ("given up" if event.shard else "parked") if event.final else "back to the queue"
        self.console.print(f"{event.unit.name}: {event.reason}; {fate}", style="yellow", markup=False, highlight=False)

    def _show(self, force: bool = False) -> None:
        seconds = self._pace.seconds_left
        left = "time left unknown" if seconds is None else f"{clock(seconds)} left"
        text = f"{self._images}/{self._of} images, {self._pace.rate:.1f} draw-gradients/s, {left}"
        self._bar.update(self._task, completed=self._pace.share, text=text)
        if not self.console.is_terminal and (force or time.monotonic() - self._said > LINE_SECONDS):
            self._said = time.monotonic()
            self.console.print(text, highlight=False)


class TrainingReporter:
    """Shows a training's events on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: BpdaJob, transforms: Sequence[str]) -> Iterator[None]:
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

    def progress(self, event: NetworkProgress) -> None:
        self._at[event.unit.name], self._fresh[event.unit.name] = event.step, event.fresh
        self._show(f", loss of {event.unit.name} {event.loss:.2g}")

    def finished(self, event: NetworkTrained) -> None:
        entry = event.entry
        self._done += 1
        self._at[entry.transform], self._fresh[entry.transform] = self._steps, event.fresh
        self._show(f", error of {entry.transform} {entry.error:.2g}, of the identity {entry.identity_error:.2g}", force=True)

    def failed(self, event: Failed) -> None:
        fate = "given up for this run" if event.final else "back to the queue"
        text = f"{event.unit.name}: {event.reason}; {fate}"
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
