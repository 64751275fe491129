"""Where units are worked on: in this process, or by Ray actors. With `pipeline.ray_train` all that knows Ray.

An executor turns units into events: Progress and Finished from a worker, Failed when an attempt came to nothing. It keeps
no record of what is done; files do that. What a unit is, and what is done with it, is the job's: a campaign's units are
attacked, a training's are transforms that get their networks.
"""

import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from pipeline.campaign import BadInput
from pipeline.queue import Queue
from pipeline.schema import Share
from pipeline.store import Refused
from pipeline.worker import Drained, Worker

Units = Iterable[Any] | Queue


class Spread(Protocol):
    """What an executor knows of a job."""

    @property
    def workers(self) -> Share:
        """The share of the cluster that each worker gets."""


Work = Callable[[Any], Iterator[Any]]
"""What a worker does with a unit: events, until it is done. Raises Drained."""

Begin = Callable[[Any, torch.device, threading.Event], Work]
"""A worker for (job, device, drain), with what it loads once for all its units."""


def attacking(job: Any, device: torch.device, drain: threading.Event) -> Work:
    """The work of a campaign."""
    return Worker(job, device, drain).work


class Executor(Protocol):
    """What `run` needs."""

    workers: int

    def execute(self, job: Any, units: Units, drain: threading.Event) -> Iterator[Any]:
        """Works on units until all are finished or failed, or `drain` is set and the running ones are checkpointed. Whoever
        hears an event may add units to the queue. Raises store.Refused, which is nobody's unit's fault."""
        ...

    def close(self) -> None:
        """Ends what the executor started."""
        ...


class Here:
    """One worker in this process, for a debugger and for machines without Ray."""

    workers = 1

    def __init__(self, begin: Begin = attacking) -> None:
        self.begin = begin

    def close(self) -> None:
        """Nothing was started."""

    def execute(self, job: Any, units: Units, drain: threading.Event) -> Iterator[Any]:
        work, worker = self.begin(job, _device(), drain), f"{os.getpid()}@{socket.gethostname()}"
        queue = Queue.of(units)
        while queue and not drain.is_set():
            unit = queue.take(worker)
            try:
                yield from work(unit)
                queue.finished(unit)
            except Drained:
                return
            except Refused:
                raise
            except Exception:
                yield queue.failed(unit, traceback.format_exc(), worker)


class OnRay:
    """Actors of the Ray cluster at `address`, or of one started here and ended with the run.

    One actor a GPU where there is one, else one a share of the cores. An actor that dies is replaced, its unit goes back
    to the queue and on from its checkpoint. Neither pixels nor rows pass through Ray.
    """

    def __init__(self, job: Spread, address: str | None = None, begin: Begin = attacking) -> None:
        import ray

        self._ray: Any = ray
        self._begin = begin
        self._cluster = cluster(job.workers, address)
        self.gpus, self.cpus = self._cluster.gpus, job.workers.cpus
        self.workers = job.workers.count or max(1, int(self._cluster.room))

    def close(self) -> None:
        """Ends the Ray that was started here."""
        self._cluster.close()

    def execute(self, job: Any, units: Units, drain: threading.Event) -> Iterator[Any]:
        queue, idle = Queue.of(units), list[Any]()
        running: dict[Any, _Lease] = {}
        while running or (queue and not drain.is_set()):
            while queue and not drain.is_set() and len(running) < self.workers:
                idle = idle or [self._actor(job)]
                if (unit := queue.take(_name(idle[-1]))) is None:
                    break  # it is for others to try
                lease = _Lease(idle.pop(), unit)
                running[lease.actor.work.remote(lease.unit)] = lease
            for lease in running.values() if drain.is_set() else ():
                lease.leave()
            for stream in self._ray.wait(list(running), timeout=0.5)[0]:
                lease = running[stream]
                event, more = self._hear(stream, lease, queue)
                if event:
                    yield event
                if not more:
                    del running[stream]
                    if not lease.dead:
                        idle.append(lease.actor)
        for actor in idle:
            self._ray.kill(actor)

    def _hear(self, stream: Any, lease: "_Lease", queue: Queue) -> tuple[Any, bool]:
        """The next event of a unit or None, and whether there may be more."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(next(stream)), True
        except StopIteration:
            queue.finished(lease.unit)
            return None, False
        except errors.RayTaskError as error:  # the worker raised; the actor lives on
            if isinstance(error.cause, Refused):
                raise error.cause from None
            if isinstance(error.cause, Drained):
                queue.back(lease.unit)
                return None, False
            return queue.failed(lease.unit, str(error), _name(lease.actor)), False
        except errors.RayError as error:  # the actor, its node or the way to it is gone
            lease.dead = True
            self._ray.kill(lease.actor)
            said = f"the actor died: {' '.join(str(error).split())[:300]}"
            return queue.failed(lease.unit, said, _name(lease.actor)), False

    def _actor(self, job: Any) -> Any:
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_restarts": 0, "max_task_retries": 0}
        return self._ray.remote(**options, max_concurrency=2)(_Actor).remote(job, self._begin)


@dataclass
class _Lease:
    """Who works on what."""

    actor: Any
    unit: Any
    asked: bool = False
    dead: bool = False

    def leave(self) -> None:
        """Asks the worker once to checkpoint and leave."""
        if not self.asked:
            self.asked = True
            self.actor.drain.remote()


@dataclass
class _Actor:
    """A worker as a Ray actor: `work` streams its events, `drain` is heard in between."""

    job: Spread
    begin: Begin
    leave: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        torch.set_num_threads(max(1, int(self.job.workers.cpus)))
        self.does = self.begin(self.job, _device(), self.leave)

    def work(self, unit: Any) -> Iterator[Any]:
        yield from self.does(unit)

    def drain(self) -> None:
        self.leave.set()


def _name(actor: Any) -> str:
    return f"{actor._actor_id.hex()[:8]}@"


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Cluster:
    """A Ray that was joined or started (`own`): the GPUs of each worker, and for how many workers there is room."""

    gpus: float
    room: float
    own: bool

    def close(self) -> None:
        """Ends it if it was started here."""
        if self.own:
            import ray

            ray.shutdown()


def cluster(wanted: Share, address: str | None = None) -> Cluster:
    """The Ray at `address`, or one started here, for workers that want such a share of it. Raises BadInput if it has none."""
    import ray

    own = not ray.is_initialized()
    if own:
        _start(ray, address)
    resources = ray.cluster_resources()
    gpus = wanted.gpus if wanted.gpus is not None else (1.0 if resources.get("GPU") else 0.0)
    room = min(resources.get("CPU", 0) / wanted.cpus, resources.get("GPU", 0) / gpus if gpus else 1e9)
    if room < 1:
        Cluster(gpus, room, own).close()
        raise BadInput(
            f"workers ask for {wanted.cpus:g} cores and {gpus:g} GPUs each, the cluster has "
            f"{resources.get('CPU', 0):g} and {resources.get('GPU', 0):g}: ask for less, or join a larger cluster"
        )
    return Cluster(gpus, room, own)


def _start(ray: Any, address: str | None) -> None:
    """Joins the cluster at `address` or of RAY_ADDRESS, or starts one here that ends with this process."""
    address = address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if address:
        ray.init(address=address, **quiet)
    else:
        ray.init(address="local", include_dashboard=False, object_store_memory=100_000_000, **quiet)
