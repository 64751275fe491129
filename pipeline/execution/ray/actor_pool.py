"""Keep the actors that work for a driver: ask for them where there is room, talk to them, and drop those that don't answer."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

from pipeline.config.fields import Share
from pipeline.execution.protocol import Begin, EventT, JobT, UnitT
from pipeline.execution.ray.actor import LEAVE_SECONDS, Actor, Location, Report
from pipeline.execution.ray.cluster import Cluster, Need
from pipeline.execution.ray.private import Handle, Ray, Reference
from pipeline.execution.worker import worker_name

REPORT_SECONDS = 1.0, 15.0
"""Between two reports of an actor whose unit goes on: of few actors, and of many. An actor is silent after a minute."""

REPORTS = 300
"""Reports a second that a driver takes, and has time left."""

GATHER_SECONDS = 2e-5
"""How long answers are gathered, for each actor: a turn of the driver goes through all actors, whatever has come in."""

REQUEST_SECONDS = 0.25
"""How long actors are requested in one go, before those that work are listened to again."""

IDLE_SECONDS = 30.0
"""Without a unit, until an actor is dropped; its machine may cost money."""

FAILURES = 3
"""Failures in a row on a node, until it counts as broken and gets no new actors for a while."""

AVOID_SECONDS = (30.0, 1800.0)
"""How long a broken node is avoided: the first time, and at most. The time doubles with each further failure."""


@dataclass(eq=False)
class Member(Generic[UnitT]):
    """Hold what the driver knows of an actor. Times are of the driver's monotonic clock, in seconds."""

    handle: Handle
    answer: Reference
    """What is asked of the actor: `locate` until it is ready, then `exchange`; None after an answer that was lost."""
    asked: float
    """When that was asked."""
    name: str = ""
    """PID@HOST, once the actor is ready."""
    node: str = ""
    """Ray's id of its node."""
    leased: deque[UnitT] = field(default_factory=deque)
    """The units that it has, the current one first."""
    moved: float = 0.0
    """When the current unit last made progress."""
    began: float = 0.0
    """When it was handed the units that it has."""
    units_per_second: float = 0.0
    """Measured on the units that it had last."""
    leaving: float = 0.0
    """When it said that it leaves, or was asked to; 0 while it stays."""

    @property
    def ready(self) -> bool:
        """Return whether the actor has started."""
        return bool(self.name)


@dataclass
class ActorPool(Generic[JobT, UnitT, EventT]):
    """Hold the actors of a run."""

    ray: Ray
    job: JobT
    begin: Begin[JobT, UnitT, EventT]
    cluster: Cluster
    need: Need
    members: list[Member[UnitT]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    """Failures in a row, by node."""
    avoided: dict[str, float] = field(default_factory=dict)
    """Until when a node gets no new actors."""
    failed_starts: int = 0
    """Actors in a row that did not become ready: each gets twice the time of the one before."""

    def __post_init__(self) -> None:
        """Send the job to the cluster once for all actors: it names every shard."""
        self._actor = self.ray.remote(max_restarts=0, max_task_retries=0)(Actor)
        self._stored_job = self.ray.put(self.job)
        self._ready = 0

    @property
    def share(self) -> Share:
        """Return what each worker gets."""
        return self.job.workers

    @property
    def ready(self) -> int:
        """Return how many actors have started."""
        return self._ready

    def request(self, wanted: int) -> bool:
        """Ask Ray for actors, for REQUEST_SECONDS at most, until there are as many as wanted, or as fit.

        Ray starts each once there is room for it. Return whether there are as many.
        """
        now = time.monotonic()
        self.avoided = {node: until for node, until in self.avoided.items() if until > now}
        most = min(wanted, self.cluster.limit(self.share, self.need))
        actor = self._actor.options(**self.need.options(self.avoided)) if len(self.members) < most else None
        while actor and len(self.members) < most and time.monotonic() - now < REQUEST_SECONDS:
            handle = actor.remote(self._stored_job, self.begin)
            self.members.append(Member(handle, handle.locate.remote(), now))
        return len(self.members) >= most

    def send(self, member: Member[UnitT], units: Sequence[UnitT], leave: bool) -> None:
        """Hand over units and ask for a report, which `replies` yields."""
        now = time.monotonic()
        if units:
            member.moved = member.began = now
        if leave and not member.leaving:
            member.leaving = now
        member.leased.extend(units)
        least, most = REPORT_SECONDS
        wait = max(least, min(most, self.share.silent_seconds / 4, len(self.members) / REPORTS))
        member.asked, member.answer = now, member.handle.exchange.remote(list(units), leave, wait)

    def replies(self, seconds: float) -> Iterator[tuple[Member[UnitT], Report[UnitT, EventT] | Location | Exception]]:
        """Yield the answers that have come in; wait up to `seconds` for the first one."""
        for member in self.members:
            if member.answer is None:  # the network, the process or its node failed: the next call will show which
                member.answer = member.handle.exchange.remote([], bool(member.leaving), REPORT_SECONDS[0])
        waiting = {member.answer: member for member in self.members}
        if not waiting:
            time.sleep(seconds)
            return
        first, rest = self.ray.wait(list(waiting), timeout=seconds)
        if first and rest:
            time.sleep(GATHER_SECONDS * len(rest))
        more = self.ray.wait(rest, num_returns=len(rest), timeout=0)[0] if first and rest else []
        lost = False
        for answer in [*first, *more]:
            member = waiting[answer]
            try:
                reply = self.ray.get(answer)
            except self.ray.exceptions.ActorUnavailableError:
                member.answer, lost = None, True
                continue
            except self.ray.exceptions.RayError as error:
                yield member, error
                continue
            if isinstance(reply, Location):
                self.failed_starts = 0
                self._ready += not member.ready
                member.name, member.node = worker_name(reply.host, reply.pid), reply.node
                member.moved = time.monotonic()
            yield member, reply
        if lost:
            time.sleep(seconds)  # or the call would fail again at once

    def overdue(self) -> list[tuple[Member[UnitT], str]]:
        """Return the actors to give up, with the reason; an empty reason where the unit is not to blame."""
        now, share, late = time.monotonic(), self.share, []
        for member in self.members:
            if not member.ready:
                if now - member.asked > share.ready_seconds * 2 ** min(self.failed_starts, 6):
                    late.append((member, ""))
            elif now - member.asked > share.silent_seconds:
                late.append((member, f"no answer for {share.silent_seconds:g} s"))
            elif member.leased and now - member.moved > share.stuck_seconds:
                late.append((member, f"no progress for {share.stuck_seconds:g} s"))
            elif now - (member.leaving or now) > LEAVE_SECONDS or (not member.leased and now - member.moved > IDLE_SECONDS):
                late.append((member, ""))
        return late

    def extend_deadlines(self, seconds: float) -> None:
        """Give every actor more time: the driver itself stood still that long."""
        for member in self.members:
            member.asked += seconds
            member.moved += seconds
            member.leaving += seconds if member.leaving else 0

    def drop(self, member: Member[UnitT]) -> None:
        """Remove an actor. Ray kills its process, even if it is stopped."""
        self.members.remove(member)
        self.failed_starts += not member.ready
        self._ready -= member.ready
        self.ray.kill(member.handle)

    def node_leaves(self, member: Member[UnitT]) -> bool:
        """Return whether the node of an actor is gone or about to go."""
        view = self.cluster.view
        return member.node in view.draining or member.node not in view.ids

    def count_failure(self, member: Member[UnitT]) -> None:
        """Count a failure of the actor's node. If failures follow each other, avoid the node, unless it is the only one."""
        self.failures[member.node] += 1
        times = self.failures[member.node] - FAILURES
        if times >= 0 and self.cluster.view.room(self.need, {*self.avoided, member.node}):
            first, most = AVOID_SECONDS
            self.avoided[member.node] = time.monotonic() + min(most, first * 2 ** min(times, 10))
            member.leaving = member.leaving or time.monotonic()

    def close(self) -> None:
        """Drop all actors."""
        for member in list(self.members):
            self.drop(member)
