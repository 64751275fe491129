"""Run a campaign, which is also how to resume one: every unit that is planned and not in the store is worked on.

A run is a line: plan (measure and cut new cells), hand out, collect (events), settle (what failed), report.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeGuard

from pipeline import provenance
from pipeline.campaigns.attempt.events import Finished, Progress
from pipeline.campaigns.job import Job
from pipeline.campaigns.measuring import Measured, Trial, rates, trials
from pipeline.campaigns.next_units import Release
from pipeline.campaigns.parking import ParkingLot
from pipeline.errors import StorageError
from pipeline.execution import Executor, Failed, Outcome, Queue, Stop, stopping
from pipeline.planning import unit_sizes
from pipeline.planning.units import Unit
from pipeline.scoring import blind
from pipeline.scoring.rules import attacked
from pipeline.scoring.summaries import blind_images
from pipeline.store.attempts import unit_of
from pipeline.store.layout import Store
from pipeline.store.mixing import before_run
from pipeline.store.rows import batches

Task = Unit | Trial
"""What workers of a campaign are handed."""

CampaignExecutor = Executor[Job, Task, Progress | Finished | Measured]


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

    def failed(self, event: Failed[Unit]) -> None:
        """Show that an attempt failed."""
        ...


def run(job: Job, executor: CampaignExecutor, reporter: RunReporter) -> Outcome:
    """Do every unit that the store lacks. A unit that fails three times is parked, and the others go on."""
    refused = ""
    with stopping(reporter.say) as stop:
        try:
            planned = _plan(job, executor, stop, reporter)
            if not stop.drain.is_set():
                job = planned.write_down()
                _work(job, executor, stop, reporter)
                job.write_plan()
        except StorageError as error:
            refused = str(error)
    return _report(job, stop, refused)


def _plan(job: Job, executor: CampaignExecutor, stop: Stop, reporter: RunReporter) -> Job:
    """Return the job with all cells cut into units. The workers of this run measure the rates of new cells."""
    if not job.uncut:
        return job
    kinds, measured = trials(job.uncut), list[Measured]()
    reporter.say(f"measuring {len(kinds)} kinds of cells, to make units of {unit_sizes.UNIT_SECONDS / 60:.0f} minutes or less")
    for event in executor.execute(job, kinds, stop.drain):
        match event:
            case Measured():
                measured.append(event)
            case Failed(final=True):
                reporter.say(f"{event.unit.name} failed, so its units have {unit_sizes.UNMEASURED} images: {event.reason}")
    return job.with_cuts(rates(job.uncut, measured), executor.workers)


def _work(job: Job, executor: CampaignExecutor, stop: Stop, reporter: RunReporter) -> None:
    """Hand out what is left to do, collect the events, and park the units that were given up."""
    todo = job.todo()
    _remove_old_checkpoints(job, todo)
    for line in before_run(Store(job.store), provenance.commit(), provenance.versions()) if todo else ():
        reporter.say(f"warning: {line}")
    release, parking = Release(job, todo, reporter.ended), ParkingLot(Store(job.store), len(job.shards))
    with reporter.watching(job, todo, executor.workers):
        queue, said = Queue[Task](release.ready()), set[str]()
        for event in executor.execute(job, queue, stop.drain):
            _pass_on(event, said, reporter)
            match event:
                case Progress():
                    parking.settle(event.seconds)
                    reporter.progress(event)
                case Finished():
                    queue.add(release.closed(event.unit))
                    reporter.finished(event)
                case Failed() if _of_unit(event):
                    reporter.failed(event)
                    if event.final:
                        parking.add(event)
                        queue.add(release.closed(event.unit))
        if not stop.drain.is_set():
            parking.settle()


def _pass_on(event: Progress | Finished | Measured | Failed[Task], said: set[str], reporter: RunReporter) -> None:
    """Show what a worker remarks, each topic once; `said` holds the topics that were shown."""
    for topic, line in event.remarks.items() if isinstance(event, Progress | Finished) else ():
        if topic not in said:
            said.add(topic)
            reporter.say(f"warning: {line}")


def _of_unit(event: Failed[Task]) -> TypeGuard[Failed[Unit]]:
    return isinstance(event.unit, Unit)


def _remove_old_checkpoints(job: Job, todo: list[Unit]) -> None:
    """Remove the checkpoints of units that are done: a worker may be killed after its commit, before it removes them."""
    store = Store(job.store)
    left: dict[str, list[str]] = {}
    for entry in store.list("checkpoints/*"):
        left.setdefault(unit_of(entry.name), []).append(entry.name)
    for unit in todo if left else ():
        left.pop(unit.name, None)
    for done in left.keys() & (store.done() if left else set()):
        for name in left[done]:
            store.remove(name)


def _report(job: Job, stop: Stop, refused: str) -> Outcome:
    """Return how the run ended; `refused` is why the store ended it."""
    try:
        failed, unseen = _faulty_images(job)
        return Outcome(failed, tuple(job.parked()), stop.signal, refused, unseen)
    except StorageError as error:  # a storage service that is down can't be read either
        return Outcome(0, (), stop.signal, refused or str(error))


def _faulty_images(job: Job) -> tuple[int, int]:
    """Return how many images could not be attacked, and for how many the attack was blind, in this run or an earlier one."""
    if not Store(job.store).done():
        return 0, 0
    failed = unseen = 0
    for rows in batches(job.store, ["status", *blind.COLUMNS]):
        good = attacked(rows)
        failed, unseen = failed + len(rows) - len(good), unseen + blind_images(good)
    return failed, unseen
