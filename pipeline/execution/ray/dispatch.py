"""Hand units to the actors of a pool and collect what they report, until the queue is empty."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic

from pipeline.errors import StorageError
from pipeline.execution.protocol import EventT, JobT, UnitT
from pipeline.execution.queue import Failed, Queue
from pipeline.execution.ray.actor import LEAVE_SECONDS, Ended, Location, Report
from pipeline.execution.ray.actor_pool import ActorPool, Member

AHEAD_SECONDS = 0.5
"""Seconds of work that an actor is handed at once; a unit that takes longer is handed alone."""

AHEAD_UNITS = 256
"""Units that an actor is handed at once, at most, so that a report stays small."""

FREE_LOSSES = 10
"""Losses of a unit with its node, or with an actor that was asked to leave, that are not counted as failed attempts. More are
taken to be the unit's own fault."""

WAIT_SECONDS = 60.0
"""Between two messages that no worker has started yet."""

STALL_SECONDS = 10.0
"""If the driver stands still for longer, the actors get that time back."""

Say = Callable[[str], None]


class Dispatch(Generic[JobT, UnitT, EventT]):
    """Run a queue of units on a pool of actors."""

    def __init__(self, pool: ActorPool[JobT, UnitT, EventT], queue: Queue[UnitT], drain: threading.Event, say: Say) -> None:
        self.pool, self.queue, self.drain, self.say = pool, queue, drain, say
        self.losses: Counter[UnitT] = Counter()
        self._ready_said, self._ready_at = 0, time.monotonic()

    @property
    def busy(self) -> int:
        """Return how many actors have units."""
        return sum(bool(member.leased) for member in self.pool.members)

    def run(self) -> Iterator[EventT | Failed[UnitT]]:
        """Yield events until nothing is left to do, or all actors have left after `drain` was set."""
        end, last = float("inf"), time.monotonic()
        while self.busy or (self.queue and not self.drain.is_set()):
            now = time.monotonic()
            if self.drain.is_set():
                end = min(end, now + LEAVE_SECONDS)
            if now > end:
                break  # the remaining actors are killed; their last checkpoints are stored
            if now - last > STALL_SECONDS:
                self.pool.extend_deadlines(now - last)
            last = now
            self.pool.cluster.check()
            enough = self.drain.is_set() or self.pool.request(len(self.queue) + self.busy)
            for member, reply in self.pool.replies(0.5 if enough else 0.0):
                yield from self._handle(member, reply)
            for member, why in self.pool.overdue():
                yield from self._lost(member, why, forgiven=not why)
            self._say_workers()

    def _handle(
        self, member: Member[UnitT], reply: Report[UnitT, EventT] | Location | Exception
    ) -> Iterator[EventT | Failed[UnitT]]:
        """Yield the events of a reply, and ask the actor for the next one."""
        if isinstance(reply, Exception):
            reason = " ".join(str(reply).split())
            preempted = isinstance(reply, self.pool.ray.exceptions.RayActorError) and reply.preempted
            yield from self._lost(member, f"the actor died: {reason[:300]}", preempted or "node has died" in reason)
            return
        if isinstance(reply, Report):
            yield from self._reported(member, reply)
            if reply.leaving and reply.current is None:
                yield from self._lost(member, "", forgiven=True)
                return
        leave = self.drain.is_set() or bool(member.leaving) or self.pool.node_leaves(member)
        self.pool.send(member, [] if leave else self._next_units(member), leave)

    def _reported(self, member: Member[UnitT], report: Report[UnitT, EventT]) -> Iterator[EventT | Failed[UnitT]]:
        """Yield the events of a report, and settle the attempts that have ended."""
        now = time.monotonic()
        yield from report.events
        for ended in report.ended:
            if ended.unit in member.leased:  # else it was given up before
                member.leased.remove(ended.unit)
                yield from self._ended(member, ended)
        for unit in [unit for unit in reversed(member.leased) if unit != report.current]:  # not begun, or lost on the way
            member.leased.remove(unit)
            self.queue.give_back(unit)
        if report.events or report.ended:
            member.moved = now
        if report.leaving and not member.leaving:
            self.say(f"worker {member.name} leaves: {report.leaving}")
            member.leaving = now
        if report.ended:
            member.units_per_second = len(report.ended) / max(1e-3, now - member.began)

    def _ended(self, member: Member[UnitT], ended: Ended[UnitT]) -> Iterator[Failed[UnitT]]:
        """Settle one attempt. Raises StorageError if the store refused."""
        if ended.refused:
            raise StorageError(ended.refused)
        if ended.error:
            yield self.queue.failed(ended.unit, ended.error, member.name, ended.shard)
            self.pool.count_failure(member)
        elif ended.drained:
            self.queue.give_back(ended.unit)
        else:
            self.queue.finished(ended.unit)
            self.pool.failures.pop(member.node, None)

    def _next_units(self, member: Member[UnitT]) -> list[UnitT]:
        """Return the units for an actor that has none: one, or several if they are short; fewer of them near the end."""
        if member.leased:
            return []
        fair = len(self.queue) // max(1, len(self.pool.members))
        wanted = max(1, min(AHEAD_UNITS, fair, int(member.units_per_second * AHEAD_SECONDS)))
        units: list[UnitT] = []
        while len(units) < wanted and (unit := self.queue.take(member.name)) is not None:
            units.append(unit)
        return units

    def _lost(self, member: Member[UnitT], why: str, forgiven: bool) -> Iterator[Failed[UnitT]]:
        """Drop an actor that is gone or given up. Its current unit failed, unless the loss is forgiven."""
        forgiven = forgiven or bool(member.leaving) or self.pool.node_leaves(member)
        with suppress(ValueError):  # Ray does not know an actor whose node left with it
            self.pool.drop(member)
        for unit in reversed(list(member.leased)[1:]):
            self.queue.give_back(unit)
        if not member.leased:
            return
        unit = member.leased[0]
        self.losses[unit] += forgiven
        if forgiven and self.losses[unit] <= FREE_LOSSES:
            self.queue.give_back(unit)
            self.say(f"worker {member.name} is gone; its unit goes back to the queue")
        else:
            yield self.queue.failed(unit, why or "its workers were lost too often", member.name)

    def _say_workers(self) -> None:
        """Say how many workers there are, when that has changed, and once a minute that there are none."""
        now, ready = time.monotonic(), self.pool.ready
        if ready:
            self._ready_at = now
        elif now - self._ready_at > WAIT_SECONDS:
            self._ready_at = now
            self.say(f"no worker yet: waiting for nodes with {self.pool.need}")
        if ready != self._ready_said and not self.drain.is_set():
            self._ready_said = ready
            self.say(f"{ready} workers")
