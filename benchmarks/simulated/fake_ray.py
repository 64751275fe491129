"""Answer what the driver asks of Ray by the machines of a simulation; each call costs the driver some time."""

from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmarks.simulated.clock import Clock
from benchmarks.simulated.machines import Reference, Worker, World
from pipeline.config.fields import Share
from pipeline.execution.ray.cluster import Cluster, Need, View

CALL, GET, CREATE, LISTED = 2e-4, 2e-4, 1.5e-3, 1.5e-6
"""Seconds of the driver's processor for a call of an actor, an answer, an actor, and a reference that is waited for."""


class Method:
    """Hold a method of an actor."""

    def __init__(self, ray: "FakeRay", call: Any) -> None:
        self.ray, self.call = ray, call

    def remote(self, *arguments: Any) -> Reference:
        """Call it."""
        with self.ray.clock.simulated(CALL):
            answer: Reference = self.call(*arguments)
            return answer


class Handle:
    """Hold the handle of an actor."""

    def __init__(self, ray: "FakeRay", worker: Worker) -> None:
        self.worker = worker
        self.locate, self.exchange = Method(ray, lambda: worker.location), Method(ray, worker.exchange)


class FakeRay:
    """Hold what the driver needs of the module `ray`."""

    class exceptions(SimpleNamespace):
        """Hold the errors of Ray that the driver knows."""

        class RayError(Exception):
            """Say that an actor or its node is gone."""

            preempted = False

        ActorUnavailableError = type("ActorUnavailableError", (Exception,), {})
        RayActorError = RayError

    def __init__(self, clock: Clock, world: World) -> None:
        self.clock, self.world, self.waits = clock, world, 0

    def remote(self, **options: Any) -> Any:
        """Return what makes a class an actor."""
        return lambda kind: self

    def options(self, **options: Any) -> "FakeRay":
        """Return the class with options."""
        return SimpleNamespace(remote=self._create)  # type: ignore[return-value]

    def _create(self, *arguments: Any) -> Handle:
        with self.clock.simulated(CREATE):
            return Handle(self, Worker(self.world))

    def put(self, value: object) -> object:
        """Store a value."""
        return value

    def wait(self, references: Sequence[Reference], num_returns: int = 1, timeout: float = 0.0) -> Any:
        """Wait for answers; return those that are there, and the others."""
        self.waits += 1
        with self.clock.simulated(LISTED * len(references)):
            end, ready = self.clock.now + timeout, [reference for reference in references if reference.ready]
            while not ready and self.clock.now < end:
                before = self.world.counts["answers"]
                self.clock.until(partial(self._more_than, before), end)
                ready = [reference for reference in references if reference.ready]
            ready = ready[:num_returns]
            chosen = set(map(id, ready))
            return ready, [reference for reference in references if id(reference) not in chosen]

    def _more_than(self, before: int) -> bool:
        return self.world.counts["answers"] > before

    def get(self, reference: Reference) -> Any:
        """Return an answer, or raise what came instead."""
        with self.clock.simulated(GET):
            if isinstance(reference.value, RuntimeError):
                raise self.exceptions.RayError(str(reference.value))
            return reference.value

    def kill(self, handle: Handle) -> None:
        """End an actor."""
        with self.clock.simulated(CALL):
            handle.worker.die("it was dropped")


class SimulatedCluster(Cluster):
    """Hold the view of a cluster: no thread asks for it, and it is never lost."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def view(self) -> View:  # type: ignore[override]
        """Return the cluster as it is."""
        return self._world.view

    def check(self) -> None:
        """Raise nothing."""

    def limit(self, share: Share, need: Need) -> int:
        """Return the most workers that fit; room on lost nodes comes back."""
        return super().limit(share, need)
