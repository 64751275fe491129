"""What a person sees while a classifier is trained: a bar in a terminal, plain lines in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from pipeline.cli.progress import LINE_SECONDS
from pipeline.execution.queue import Failed
from pipeline.planning.time_left import clock
from pipeline.training.classifier_job import ClassifierJob
from pipeline.training.classifier_trainer import ClassifierProgress, ClassifierTrained, Evaluated


class LearningReporter:
    """Shows the training of a classifier on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: ClassifierJob) -> Iterator[None]:
        """While a training goes on."""
        self._said = time.monotonic()
        self._batch, self._last = job.training.batch, ""
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn()
        self._bar = Bar(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._bar.add_task("training", total=job.steps, text="")
        with self._bar:
            yield

    def progress(self, event: ClassifierProgress) -> None:
        speed = event.speed
        left = f", {clock((event.steps - event.step) * self._batch / speed.images)} left" if speed.images else ""
        text = (
            f"step {event.step}/{event.steps}, loss {event.loss:.3f}, {event.right:.1%} right, {speed.images:,.0f} images/s, "
            f"bare training {speed.bare:.0%}{left}"
        )
        self._bar.update(self._task, completed=event.step, text=text)
        self._last = text
        if not self.console.is_terminal and time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            self.console.print(text, highlight=False, soft_wrap=True)

    def evaluated(self, event: Evaluated) -> None:
        found = ", ".join(f"k={k} {share:.2%}" for k, share in event.accuracy.items())
        text = f"step {event.step}: accuracy on images held out {found} ({event.seconds:.1f} s)"
        self.console.print(text, highlight=False, soft_wrap=True)

    def finished(self, event: ClassifierTrained) -> None:
        if self._last:
            self.console.print(self._last, highlight=False, soft_wrap=True)
        text = f"trained: {event.fresh} steps in {clock(event.seconds)}, images and models at hand"
        self.console.print(text, highlight=False, soft_wrap=True)

    def failed(self, event: Failed) -> None:
        last = event.error.strip().splitlines()[-1]
        fate = "given up for this run" if event.final else "once more from its checkpoint"
        text = f"{last}; {fate}"
        self.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
