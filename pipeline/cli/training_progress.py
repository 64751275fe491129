"""Show a person how a training goes: a bar in a terminal, plain lines in a log."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from pipeline.cli.progress import Display, print_line
from pipeline.execution.queue import Failed
from pipeline.planning.time_left import clock
from pipeline.training.bpda_job import BpdaJob
from pipeline.training.bpda_trainer import NetworkProgress, NetworkTrained
from pipeline.training.classifier_job import ClassifierJob
from pipeline.training.classifier_trainer import ClassifierProgress, ClassifierTrained, Evaluated


class BpdaReporter:
    """Show the training of BPDA networks on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: BpdaJob, transforms: Sequence[str]) -> Iterator[None]:
        """Show progress while the networks of `transforms`, those that are not trained yet, are trained."""
        self._steps, self._planned = job.training.steps, len(job.training.transforms)
        self._trained, self._began = self._planned - len(transforms), time.monotonic()
        self._step = {name: self._steps for name in job.training.transforms} | dict.fromkeys(transforms, 0)
        self._fresh: Counter[str] = Counter()  # steps of this run
        self._display = Display(self.console, "training", self._planned * self._steps)
        with self._display.bar:
            yield
            self._show("", force=True)

    def progress(self, event: NetworkProgress) -> None:
        self._step[event.unit.name], self._fresh[event.unit.name] = event.step, event.fresh
        self._show(f", loss of {event.unit.name} {event.loss:.2g}")

    def finished(self, event: NetworkTrained) -> None:
        entry = event.entry
        self._trained += 1
        self._step[entry.transform], self._fresh[entry.transform] = self._steps, event.fresh
        self._show(f", error of {entry.transform} {entry.error:.2g}, of the identity {entry.identity_error:.2g}", force=True)

    def failed(self, event: Failed) -> None:
        fate = "given up for this run" if event.final else "back to the queue"
        print_line(self.console, f"{event.unit.name}: {event.reason}; {fate}", "yellow")

    def _show(self, more: str, force: bool = False) -> None:
        rate = self._fresh.total() / max(1e-9, time.monotonic() - self._began)
        done = sum(self._step.values())
        left = f", {clock((self._planned * self._steps - done) / rate)} left" if rate else ""
        self._display.update(done, f"{self._trained}/{self._planned} transforms, {rate:.1f} steps/s{left}{more}", force)


class ClassifierReporter:
    """Show the training of a classifier on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def watching(self, job: ClassifierJob) -> Iterator[None]:
        """Show progress while a classifier is trained."""
        self._batch, self._last = job.training.batch, ""
        self._display = Display(self.console, "training", job.steps)
        with self._display.bar:
            yield

    def progress(self, event: ClassifierProgress) -> None:
        speed = event.speed
        left = f", {clock((event.steps - event.step) * self._batch / speed.images)} left" if speed.images else ""
        self._last = (
            f"step {event.step}/{event.steps}, loss {event.loss:.3f}, {event.right:.1%} right, {speed.images:,.0f} images/s, "
            f"bare training {speed.bare:.0%}{left}"
        )
        self._display.update(event.step, self._last)

    def evaluated(self, event: Evaluated) -> None:
        accuracy = ", ".join(f"k={k} {share:.2%}" for k, share in event.accuracy.items())
        print_line(self.console, f"step {event.step}: accuracy on images held out {accuracy} ({event.seconds:.1f} s)")

    def finished(self, event: ClassifierTrained) -> None:
        if self._last:
            print_line(self.console, self._last)
        print_line(self.console, f"trained: {event.fresh} steps in {clock(event.seconds)}, images and models at hand")

    def failed(self, event: Failed) -> None:
        last = event.error.strip().splitlines()[-1]
        fate = "given up for this run" if event.final else "once more from its checkpoint"
        print_line(self.console, f"{last}; {fate}", "yellow")
