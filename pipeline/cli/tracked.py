"""Show the events of a run, and pass them on to trackers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from pipeline.campaigns.attempt.events import Finished
from pipeline.campaigns.job import Job
from pipeline.cli.progress import Reporter
from pipeline.execution.queue import Failed
from pipeline.planning.units import Unit
from pipeline.tracking.follower import Follower


class Tracked(Reporter):
    """Show the events of a run on a console, and in trackers: `track` holds what stands behind each --track."""

    def __init__(self, console: Console, track: Sequence[str]) -> None:
        super().__init__(console)
        self._track, self._followers = track, list[Follower]()

    @contextmanager
    def watching(self, job: Job, units: Sequence[Unit], workers: int) -> Iterator[None]:
        self._followers = [Follower(text, job.store, self.say) for text in self._track] if units else []
        with super().watching(job, units, workers):
            yield

    def finished(self, event: Finished) -> None:
        super().finished(event)
        pace = {"rate": self._pace.rate, "seconds_left": self._pace.seconds_left}
        self._tell(unit=event.unit.name, pace={name: value for name, value in pace.items() if value is not None})

    def failed(self, event: Failed) -> None:
        super().failed(event)
        if event.final:
            self._tell(parked=event.unit.name)

    def end(self, exit_code: int) -> None:
        """Let all trackers send what they have not sent yet, at the same time."""
        for follower in self._followers:
            follower.ask_to_end(exit_code)
        for follower in self._followers:
            follower.end()

    def _tell(self, **message: object) -> None:
        for follower in self._followers:
            follower.tell(**message)
