"""The actors that work for a driver: asked for where there is room, listened to, and let go when they give no answer."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.fields import Share
from pipeline.execution.protocol import Begin, Spread
from pipeline.execution.protocol import name as called
from pipeline.execution.ray.actor import LEAVE_SECONDS, Actor, Report, Where
from pipeline.execution.ray.cluster import Cluster, Need

BEAT_SECONDS = 1.0
"""Between two signs of life of an actor whose unit goes on; more where there are more than a hundred."""

BURST = 50
"""Actors that are asked for in one go, between two looks at those that work."""

IDLE_SECONDS = 30.0
"""Without a unit, until an actor is let go; its machine may be paid for."""

FAULTS = 3
"""Failures in a row, until a node is taken to be at fault and gets no new actors for a while."""

SHUN_SECONDS = (30.0, 1800.0)
"""For how long, at first and at most."""


@dataclass(eq=False)
class Member:
    """An actor as its driver knows it. Times are of the driver's monotonic clock."""

    actor: Any
    answer: Any
    """What Ray owes us: `where` until the actor is ready, then a `turn`; None after one that was lost on the way."""
    asked: float
    """When the answer was asked for that is still owed."""
    name: str = ""
    """What it is called, once it is ready."""
    node: str = ""
    leased: deque[Any] = field(default_factory=deque)
    """Its units, the one in hand first."""
    moved: float = 0.0
    """When the unit in hand last went on."""
    began: float = 0.0
    """When it was handed the units that it has."""
    pace: float = 0.0
    """Units a second, of those that it had last."""
    leaving: float = 0.0
    """When it was heard or told to leave; 0 while it stays."""

    @property
    def ready(self) -> bool:
        return bool(self.name)


@dataclass
class Crew:
    """The actors of a run."""

    ray: Any
    job: Spread
    begin: Begin
    cluster: Cluster
    need: Need
    members: list[Member] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """Failures in a row, by node."""
    shunned: dict[str, float] = field(default_factory=dict)
    """Until when a node gets no new actors."""
    unready: int = 0
    """Actors that did not become ready, one after the other: each gets twice the time of the one before."""

    def __post_init__(self) -> None:
        self._actor = self.ray.remote(max_restarts=0, max_task_retries=0)(Actor)
        self._told = self.ray.put(self.job)  # once for all: it names every shard

    @property
    def share(self) -> Share:
        return self.job.workers

    @property
    def ready(self) -> list[Member]:
        return [member for member in self.members if member.ready]

    def enlist(self, wanted: int) -> None:
        """Asks for as many actors as are wanted and lacking. Ray starts each where and when there is room, or once the
        autoscaler has made it."""
        now = time.monotonic()
        self.shunned = {node: until for node, until in self.shunned.items() if until > now}
        lacking = min(wanted, self.cluster.limit(self.share, self.need)) - len(self.members)
        for _ in range(min(lacking, BURST)):
            actor = self._actor.options(**self.need.options(self.shunned)).remote(self._told, self.begin)
            self.members.append(Member(actor, actor.where.remote(), now))

    def turn(self, member: Member, units: Sequence[Any], drain: bool) -> None:
        """Hands over units and asks for a report, which `heard` gives."""
        now = time.monotonic()
        if units:
            member.moved = member.began = now
        if drain and not member.leaving:
            member.leaving = now
        member.leased.extend(units)
        member.asked, beat = now, max(BEAT_SECONDS, min(5.0, len(self.members) / 100))
        member.answer = member.actor.turn.remote(list(units), drain, beat)

    def heard(self, seconds: float) -> Iterator[tuple[Member, Report | Where | Exception]]:
        """What came in, as soon as something has, or nothing after some seconds."""
        for member in self.members:
            if member.answer is None:  # only the network, or the process, or its node: the next call will tell
                member.answer = member.actor.turn.remote([], bool(member.leaving), BEAT_SECONDS)
        waiting = {member.answer: member for member in self.members}
        if not waiting:
            time.sleep(seconds)
            return
        some, rest = self.ray.wait(list(waiting), timeout=seconds)
        more = self.ray.wait(rest, num_returns=len(rest), timeout=0)[0] if some and rest else []
        lost = False
        for answer in [*some, *more]:
            member = waiting[answer]
            try:
                said = self.ray.get(answer)
            except self.ray.exceptions.ActorUnavailableError:
                member.answer, lost = None, True
                continue
            except self.ray.exceptions.RayError as error:
                yield member, error
                continue
            if isinstance(said, Where):
                self.unready = 0
                member.name, member.node, member.moved = called(said.host, said.pid), said.node, time.monotonic()
            yield member, said
        if lost:
            time.sleep(seconds)  # or the call would fail again at once

    def overdue(self) -> list[tuple[Member, str]]:
        """Members that are given up, and why; one that was told to leave or has no unit, for no stated reason."""
        now, share, found = time.monotonic(), self.share, []
        for member in self.members:
            if not member.ready:
                if now - member.asked > share.ready_seconds * 2 ** min(self.unready, 6):
                    found.append((member, ""))
            elif now - member.asked > share.silent_seconds:
                found.append((member, f"no answer for {share.silent_seconds:g} s"))
            elif member.leased and now - member.moved > share.stuck_seconds:
                found.append((member, f"no progress for {share.stuck_seconds:g} s"))
            elif now - (member.leaving or now) > LEAVE_SECONDS or (not member.leased and now - member.moved > IDLE_SECONDS):
                found.append((member, ""))
        return found

    def late(self, seconds: float) -> None:
        """The driver itself stood still for so long: nobody else is to blame."""
        for member in self.members:
            member.asked += seconds
            member.moved += seconds
            member.leaving += seconds if member.leaving else 0

    def drop(self, member: Member) -> None:
        """Lets an actor go. Ray kills its process, also one that is stopped."""
        self.members.remove(member)
        self.unready += not member.ready
        self.ray.kill(member.actor)

    def left(self, member: Member) -> bool:
        """Whether the node of a member is gone or about to go."""
        view = self.cluster.view
        return member.node in view.draining or all(node.id != member.node for node in view.nodes)

    def fault(self, member: Member) -> None:
        """Counts a failure; a node where one follows the other is shunned, if there are others."""
        self.faults[member.node] += 1
        times = self.faults[member.node] - FAULTS
        if times >= 0 and self.cluster.view.room(self.need, {*self.shunned, member.node}):
            first, most = SHUN_SECONDS
            self.shunned[member.node] = time.monotonic() + min(most, first * 2 ** min(times, 10))
            member.leaving = member.leaving or time.monotonic()

    def close(self) -> None:
        """Lets all go."""
        for member in list(self.members):
            self.drop(member)
