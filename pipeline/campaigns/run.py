"""Run a campaign or a training, which is also how to resume one: whatever is planned and not in the store is worked on."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline import provenance
from pipeline.campaigns.job import Job
from pipeline.campaigns.parking import Lot
from pipeline.campaigns.release import Rounds
from pipeline.campaigns.worker import Finished, Progress
from pipeline.errors import StorageError
from pipeline.execution import Executor
from pipeline.execution.outcome import Outcome, Stop, stopping
from pipeline.execution.queue import Failed, Queue
from pipeline.planning import unit_sizes
from pipeline.planning.unit_sizes import Measured
from pipeline.planning.units import Unit
from pipeline.store.attempts import unit_of
from pipeline.store.layout import Store
from pipeline.store.mixing import before_run
from pipeline.store.rows import results


class RunReporter(Protocol):
    """Show the events of a run to a person; `pipeline.cli.progress.Reporter` does it on a console."""

    def watching(self, job: Job, units: Sequence[Unit], workers: int) -> AbstractContextManager[None]:
        """Show progress while the run lasts."""
        ...

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def ended(self, units: Sequence[Unit], said: str) -> None:
        """Report that a stop rule made `units` unnecessary, and why."""
        ...

    def progress(self, event: Progress) -> None:
        """Show how far a unit is."""
        ...

    def finished(self, event: Finished) -> None:
        """Show that a unit is committed."""
        ...

    def failed(self, event: Failed) -> None:
        """Show that an attempt failed."""
        ...


def run(job: Job, executor: Executor, reporter: RunReporter) -> Outcome:
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
        except StorageError as error:
            refused = str(error)
    try:
        return Outcome(_failed_images(job), tuple(job.parked()), stop.signal, refused)
    except StorageError as error:  # a service that is gone tells nothing either
        return Outcome(0, (), stop.signal, refused or str(error))


def _measured(job: Job, executor: Executor, stop: Stop, reporter: RunReporter) -> dict[str, float]:
    """Draw-gradients a second of the cells that are new, by the workers that will do them."""
    trials, found = unit_sizes.trials(job.uncut), []
    reporter.say(f"measuring {len(trials)} kinds of cells, to make units of {unit_sizes.UNIT_SECONDS / 60:.0f} minutes or less")
    for event in executor.execute(job, trials, stop.drain):
        match event:
            case Measured():
                found.append(event)
            case Failed(final=True):
                reporter.say(f"{event.unit.name} failed, so its units have {unit_sizes.UNMEASURED} images: {event.reason}")
    return unit_sizes.rates(job.uncut, found)


def _work(job: Job, executor: Executor, stop: Stop, reporter: RunReporter) -> None:
    todo = job.todo()
    _sweep(job, todo)
    for line in before_run(Store(job.store), provenance.commit(), provenance.versions()) if todo else ():
        reporter.say(f"warning: {line}")
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


def _failed_images(job: Job) -> int:
    """Images that could not be attacked, in this run or an earlier one."""
    if not Store(job.store).done():
        return 0
    return sum(status != "ok" for status in results(job.store, ["status"])["status"].to_pylist())
