"""Units handed to the actors of a Ray cluster, and what is heard of them. Neither pixels nor rows pass through Ray."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from pipeline.errors import ClusterLost, StorageError
from pipeline.execution.protocol import Begin, Spread, Units
from pipeline.execution.queue import Queue
from pipeline.execution.ray import cluster
from pipeline.execution.ray.actor import LEAVE_SECONDS, Report, Where
from pipeline.execution.ray.cluster import Cluster
from pipeline.execution.ray.crew import Crew, Member
from pipeline.execution.ray.metrics import Metrics

AHEAD_SECONDS = 0.5
"""Worth of units that an actor is handed at once; one that takes longer is handed alone."""

AHEAD = 256
"""Units at most, so that a report stays small."""

FREE_LOSSES = 10
"""Losses of a unit with its node, or with an actor told to leave, that do not count: more are taken to be its own fault."""

WAIT_SECONDS = 60.0
"""Between two lines that say that there is nobody to work."""

Say = Callable[[str], None]


class RayExecutor:
    """Actors of the Ray cluster at `address`, or of one started here and ended with the run.

    One actor a GPU where there is one, else one a share of the cores, as many as there is room for at any time: nodes may
    join and leave. An actor that dies, hangs or is told to leave is replaced; its unit goes back to the queue and on from
    its checkpoint. Raises BadInput where no node has what workers ask for, ClusterLost once the whole cluster is lost.
    """

    def __init__(self, job: Spread, begin: Begin, address: str | None = None, say: Say = lambda line: None) -> None:
        import ray

        self._ray: Any = ray
        self._share, self._begin, self._say = job.workers, begin, say
        self._gone = False
        self._own = not ray.is_initialized()
        if self._own:
            cluster.start(ray, address)
        self._cluster = Cluster(ray)
        try:
            self._need = self._cluster.need(self._share)
        except BaseException:
            self.close()
            raise
        self._metrics = Metrics(job.name)

    @property
    def workers(self) -> int:
        """Actors that the cluster has room for."""
        return max(1, self._cluster.limit(self._share, self._need))

    def close(self) -> None:
        """Ends the Ray that was started here."""
        self._cluster.close()
        if not self._own:
            return
        if self._gone:  # a shutdown in good order would wait for an answer
            node = self._ray._private.worker._global_node
            if node is not None:
                node.kill_all_processes(check_alive=False, allow_graceful=False)
        else:
            self._ray.shutdown()

    def execute(self, job: Any, units: Units, drain: threading.Event) -> Iterator[Any]:
        """Events of all units, as they come."""
        crew = Crew(self._ray, job, self._begin, self._cluster, self._need)
        try:
            for event in Dispatch(crew, Queue.of(units), drain, self._say).run():
                self._metrics.saw(event, len(crew.ready))
                yield event
        except ClusterLost:
            self._gone = True
            raise
        finally:
            self._metrics.saw(None, 0)
            if not self._gone:
                crew.close()


class Dispatch:
    """One run: who works on what, until the queue is empty."""

    def __init__(self, crew: Crew, queue: Queue, drain: threading.Event, say: Say) -> None:
        self.crew, self.queue, self.drain, self.say = crew, queue, drain, say
        self.losses: Counter[Any] = Counter()
        self.said, self.quiet = 0, time.monotonic()

    @property
    def leased(self) -> int:
        """Actors with a unit."""
        return sum(bool(member.leased) for member in self.crew.members)

    def run(self) -> Iterator[Any]:
        """Events, until nothing is left to do or all have left."""
        end, beat = float("inf"), time.monotonic()
        while self.leased or (self.queue and not self.drain.is_set()):
            now = time.monotonic()
            if self.drain.is_set():
                end = min(end, now + LEAVE_SECONDS)
            if now > end:
                break  # the rest is killed; its last checkpoints are there
            if now - beat > 10:
                self.crew.late(now - beat)
            beat = now
            self.crew.cluster.check()
            if not self.drain.is_set():
                self.crew.enlist(len(self.queue) + self.leased)
            for member, said in self.crew.heard(0.5):
                yield from self._hear(member, said)
            for member, why in self.crew.overdue():
                yield from self._lost(member, why, forgiven=not why)
            self._tell()

    def _hear(self, member: Member, said: Report | Where | Exception) -> Iterator[Any]:
        if isinstance(said, Exception):
            reason = " ".join(str(said).split())
            forgiven = getattr(said, "preempted", False) or "node has died" in reason
            yield from self._lost(member, f"the actor died: {reason[:300]}", forgiven)
            return
        if isinstance(said, Report):
            yield from self._reported(member, said)
            if said.leaving and said.now is None:
                yield from self._lost(member, "", forgiven=True)
                return
        leave = self.drain.is_set() or bool(member.leaving) or self.crew.left(member)
        self.crew.turn(member, [] if leave else self._units(member), leave)

    def _reported(self, member: Member, report: Report) -> Iterator[Any]:
        """What a report says of units."""
        now = time.monotonic()
        yield from report.events
        for ended in report.ended:
            if ended.unit not in member.leased:  # it was given up
                continue
            member.leased.remove(ended.unit)
            if ended.refused:
                raise StorageError(ended.refused)
            if ended.error:
                yield self.queue.failed(ended.unit, ended.error, member.name, ended.shard)
                self.crew.fault(member)
            elif ended.drained:
                self.queue.back(ended.unit)
            else:
                self.queue.finished(ended.unit)
                self.crew.faults.pop(member.node, None)
        for unit in [unit for unit in reversed(member.leased) if unit != report.now]:  # not begun, or lost on the way
            member.leased.remove(unit)
            self.queue.back(unit)
        if report.events or report.ended:
            member.moved = now
        if report.leaving and not member.leaving:
            self.say(f"worker {member.name} leaves: {report.leaving}")
            member.leaving = now
        if report.ended:
            member.pace = len(report.ended) / max(1e-3, now - member.began)

    def _units(self, member: Member) -> list[Any]:
        """What a member without a unit gets: one, or several if it is through with them at once; fewer of them near the end."""
        if member.leased:
            return []
        fair = len(self.queue) // max(1, len(self.crew.members))
        wanted = max(1, min(AHEAD, fair, int(member.pace * AHEAD_SECONDS)))
        found: list[Any] = []
        while len(found) < wanted and (unit := self.queue.take(member.name)) is not None:
            found.append(unit)
        return found

    def _lost(self, member: Member, why: str, forgiven: bool) -> Iterator[Any]:
        """A member is gone, or given up; the unit in its hand failed, unless that is forgiven."""
        forgiven = forgiven or bool(member.leaving) or self.crew.left(member)
        with suppress(ValueError):  # Ray does not know an actor whose node left with it
            self.crew.drop(member)
        for unit in reversed(list(member.leased)[1:]):
            self.queue.back(unit)
        if not member.leased:
            return
        unit = member.leased[0]
        self.losses[unit] += forgiven
        if forgiven and self.losses[unit] <= FREE_LOSSES:
            self.queue.back(unit)
            self.say(f"worker {member.name} is gone; its unit goes back to the queue")
        else:
            yield self.queue.failed(unit, why or "its workers were lost too often", member.name)

    def _tell(self) -> None:
        """Says how many work, when that has changed, and that nobody does, now and then."""
        now, ready = time.monotonic(), len(self.crew.ready)
        if ready:
            self.quiet = now
        elif now - self.quiet > WAIT_SECONDS:
            self.quiet = now
            self.say(f"no worker yet: waiting for nodes with {self.crew.need}")
        if ready != self.said and not self.drain.is_set():
            self.said = ready
            self.say(f"{ready} workers")
