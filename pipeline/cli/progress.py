"""Show a person how a run goes: a bar in a terminal, plain lines in a log."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.job import Job
from pipeline.cli.pace import Pace
from pipeline.escaped import line
from pipeline.execution.queue import Failed
from pipeline.planning.time_left import clock
from pipeline.planning.units import Unit

LINE_SECONDS = 15.0
"""Between two lines of a log."""


class Display:
    """Show one text that changes: beside a bar in a terminal, else as a line of a log every LINE_SECONDS."""

    def __init__(self, console: Console, name: str, total: float) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
        )
        self.console, self.bar = console, Bar(*columns, console=console, disable=not console.is_terminal)
        self._task, self._shown = self.bar.add_task(name, total=total, text=""), time.monotonic()

    def update(self, done: float, text: str, force: bool = False) -> None:
        """Show what is `done` of the total; `force` a line of a log even if the last one was moments ago."""
        self.bar.update(self._task, completed=done, text=line(text))
        if not self.console.is_terminal and (force or time.monotonic() - self._shown > LINE_SECONDS):
            self._shown = time.monotonic()
            print_line(self.console, text)


def print_line(console: Console, text: str, style: str = "") -> None:
    """Print one line, which the console does not break."""
    console.print(Text(line(text), style), soft_wrap=True)


class Reporter:
    """Show the events of a run on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: Job, units: Sequence[Unit], workers: int) -> Iterator[None]:
        """Show progress while a run goes on."""
        self._pace, self._display = Pace(job, units, workers), Display(self.console, "attacking", 1.0)
        self._images, self._planned = 0, sum(unit.images for unit in units)
        with self._display.bar:
            yield
            self._show(force=True)

    def say(self, text: str) -> None:
        """Print one line."""
        print_line(self.console, text)

    def ended(self, units: Sequence[Unit], said: str) -> None:
        """Print why units are no longer needed, and take them out of the plan."""
        self.say(said)
        self._pace.forget(units)
        self._planned -= sum(unit.images for unit in units)

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
        print_line(self.console, f"{event.unit.name}: {event.reason}; {fate}", "yellow")

    def _show(self, force: bool = False) -> None:
        seconds = self._pace.seconds_left
        left = "time left unknown" if seconds is None else f"{clock(seconds)} left"
        text = f"{self._images}/{self._planned} images, {self._pace.rate:.1f} draw-gradients/s, {left}"
        self._display.update(self._pace.share, text, force)
