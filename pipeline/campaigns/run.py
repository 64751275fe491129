"""Run a campaign or a training, which is also how to resume one: whatever is planned and not in the store is worked on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline import networks, sizes, weights
from pipeline.attempts import unit_of
from pipeline.executors import Executor
from pipeline.files import Refused
from pipeline.job import Job
from pipeline.learner import Learned, Learning, Looked
from pipeline.learning_progress import LearningReporter
from pipeline.parking import Lot
from pipeline.plan import Unit
from pipeline.progress import Reporter, TrainingReporter, last_line
from pipeline.queue import Failed, Queue
from pipeline.recipe_job import RecipeJob
from pipeline.results import results
from pipeline.rounds import Rounds
from pipeline.sizes import Measured
from pipeline.store import Store
from pipeline.trainer import Step, Trained
from pipeline.training import TrainingJob
from pipeline.worker import Finished, Progress


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `failed_units` names those that were given up, in this run or an earlier one; `stopped_by` is the
    signal that ended it early, or 0; `refused` says why it could not go on."""

    failed_images: int
    failed_units: tuple[str, ...]
    stopped_by: int
    refused: str = ""

    @property
    def exit_code(self) -> int:
        if self.stopped_by:
            return 128 + self.stopped_by
        return 1 if self.failed_images or self.failed_units or self.refused else 0


def run(job: Job, executor: Executor, reporter: Reporter) -> Outcome:
    """Works on every unit that the store lacks; one that fails three times is parked, and the rest goes on."""
    refused = ""
    with stopping() as stop:
        try:
            if job.uncut:
                job = job.with_cuts(_measured(job, executor, stop, reporter))
            if not stop.drain.is_set():
                job = job.write_down()
                _work(job, executor, stop, reporter)
                job.write_down()  # cells that a stop rule ended hold fewer units than were planned
        except Refused as error:
            refused = str(error)
    try:
        return Outcome(_failed_images(job), tuple(job.parked()), stop.signal, refused)
    except Refused as error:  # a service that is gone tells nothing either
        return Outcome(0, (), stop.signal, refused or str(error))


def _measured(job: Job, executor: Executor, stop: "Stop", reporter: Reporter) -> dict[str, float]:
    """Draw-gradients a second of the cells that are new, by the workers that will do them."""
    trials, found = sizes.trials(job.uncut), []
    reporter.say(f"measuring {len(trials)} kinds of cells, to make units of {sizes.UNIT_SECONDS / 60:.0f} minutes or less")
    for event in executor.execute(job, trials, stop.drain):
        match event:
            case Measured():
                found.append(event)
            case Failed(final=True):
                reporter.say(f"{event.unit.name} failed, so its units have {sizes.UNMEASURED} images: {last_line(event.error)}")
    return sizes.rates(job.uncut, found)


def _work(job: Job, executor: Executor, stop: "Stop", reporter: Reporter) -> None:
    todo = job.todo()
    _sweep(job, todo)
    rounds, lot = Rounds(job, todo, reporter.ended), Lot(Store(job.store), len(job.shards))
    with reporter.watching(job, todo, executor.workers):
        queue = Queue(rounds.first())
        for event in executor.execute(job, queue, stop.drain):
            match event:
                case Progress():
                    lot.settle(event.seconds)
                    reporter.progress(event)
                case Finished():
                    queue.add(rounds.through(event.unit))
                    reporter.finished(event)
                case Failed():
                    reporter.failed(event)
                    if event.final:
                        lot.add(event)
                        queue.add(rounds.through(event.unit))
        if not stop.drain.is_set():
            lot.settle()


def _sweep(job: Job, todo: list[Unit]) -> None:
    """Removes the checkpoints of units that are done: whoever committed them was killed before it could."""
    store = Store(job.store)
    left: dict[str, list[str]] = {}
    for entry in store.list("checkpoints/*"):
        left.setdefault(unit_of(entry.name), []).append(entry.name)
    for unit in todo if left else ():
        left.pop(unit.name, None)
    for done in left.keys() & (store.done() if left else set()):
        for name in left[done]:
            store.remove(name)


def train(job: TrainingJob, executor: Executor, reporter: TrainingReporter) -> Outcome:
    """Trains every network that the store lacks, and writes the manifest after each."""
    job.write_down()
    todo, failed = job.todo(), list[str]()
    with stopping() as stop, reporter.watching(job, todo):
        for event in executor.execute(job, todo, stop.drain):
            match event:
                case Step():
                    reporter.progress(event)
                case Trained():
                    networks.write_manifest(job.store)
                    reporter.finished(event)
                case Failed():
                    failed += [event.unit] if event.final else []
                    reporter.failed(event)
    networks.write_manifest(job.store)  # of files that an earlier run left without it
    return Outcome(0, tuple(failed), stop.signal)


def learn(job: RecipeJob, executor: Executor, reporter: LearningReporter) -> Outcome:
    """Trains the classifier that the store lacks."""
    job.write_down()
    failed = list[str]()
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
                    failed += [event.unit] if event.final else []
                    reporter.failed(event)
    weights.write_manifest(job.store)  # of a file that an earlier run left without it
    return Outcome(0, tuple(failed), stop.signal)


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
