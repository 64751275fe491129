"""Run a campaign or a training, which is also how to resume one: whatever is planned and not in the store is worked on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline import networks, weights
from pipeline.executors import Executor, Failed
from pipeline.job import Job
from pipeline.learner import Learned, Learning, Looked
from pipeline.learning_progress import LearningReporter
from pipeline.progress import Reporter, TrainingReporter
from pipeline.recipe_job import RecipeJob
from pipeline.results import results
from pipeline.store import Store
from pipeline.trainer import Step, Trained
from pipeline.training import TrainingJob
from pipeline.worker import Finished, Progress


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `stopped_by` is the signal that ended it early, or 0."""

    failed_images: int
    failed_units: int
    stopped_by: int

    @property
    def exit_code(self) -> int:
        if self.stopped_by:
            return 128 + self.stopped_by
        return 1 if self.failed_images or self.failed_units else 0


def run(job: Job, executor: Executor, reporter: Reporter) -> Outcome:
    """Works on every unit that the store lacks."""
    job.write_down()
    todo = job.todo()
    failed_units = 0
    with stopping() as stop, reporter.watching(job, todo, executor.workers):
        for event in executor.execute(job, todo, stop.drain):
            match event:
                case Progress():
                    reporter.progress(event)
                case Finished():
                    reporter.finished(event)
                case Failed():
                    failed_units += event.final
                    reporter.failed(event)
    return Outcome(_failed_images(job), failed_units, stop.signal)


def train(job: TrainingJob, executor: Executor, reporter: TrainingReporter) -> Outcome:
    """Trains every network that the store lacks, and writes the manifest after each."""
    job.write_down()
    todo, failed = job.todo(), 0
    with stopping() as stop, reporter.watching(job, todo):
        for event in executor.execute(job, todo, stop.drain):
            match event:
                case Step():
                    reporter.progress(event)
                case Trained():
                    networks.write_manifest(job.store)
                    reporter.finished(event)
                case Failed():
                    failed += event.final
                    reporter.failed(event)
    networks.write_manifest(job.store)  # of files that an earlier run left without it
    return Outcome(0, failed, stop.signal)


def learn(job: RecipeJob, executor: Executor, reporter: LearningReporter) -> Outcome:
    """Trains the classifier that the store lacks."""
    job.write_down()
    failed = 0
    with stopping() as stop, reporter.watching(job):
        for event in executor.execute(job, job.todo(), stop.drain):
            match event:
                case Learning():
                    reporter.progress(event)
                case Looked():
                    reporter.looked(event)
                case Learned():
                    reporter.finished(event)
                case Failed():
                    failed += event.final
                    reporter.failed(event)
    weights.write_manifest(job.store)  # of a file that an earlier run left without it
    return Outcome(0, failed, stop.signal)


def _failed_images(job: Job) -> int:
    """Images that could not be attacked, in this run or an earlier one."""
    if not Store(job.store).done():
        return 0
    return sum(status != "ok" for status in results(job.store, ["status"])["status"].to_pylist())


@dataclass
class Stop:
    """That a run was told to stop, and by which signal."""

    drain: threading.Event
    signal: int = 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM asks the workers to checkpoint and leave; a second one ends at once."""
    stop = Stop(threading.Event())

    def ask(number: int, frame: object) -> None:
        if stop.drain.is_set():
            raise KeyboardInterrupt
        stop.signal = number
        stop.drain.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
