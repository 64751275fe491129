"""Run units on the actors of a Ray cluster. Neither pixels nor rows pass through Ray."""

import threading
from collections.abc import Iterable, Iterator
from typing import Generic

from pipeline.errors import ClusterLost
from pipeline.execution.protocol import Begin, EventT, JobT, UnitT
from pipeline.execution.queue import Failed, Queue
from pipeline.execution.ray import private
from pipeline.execution.ray.actor_pool import ActorPool
from pipeline.execution.ray.cluster import Cluster
from pipeline.execution.ray.dispatch import Dispatch, Say
from pipeline.execution.ray.metrics import Metrics
from pipeline.execution.ray.private import Ray
from pipeline.execution.ray.start import start


class RayExecutor(Generic[JobT, UnitT, EventT]):
    """Do units on actors of the Ray cluster at `address`, or of one that is started here and ends with the run.

    There is one actor per GPU, or per share of the cores where there are no GPUs: as many as there is room for at any time,
    since nodes may join and leave. An actor that dies, hangs or is asked to leave is replaced; its unit goes back to the queue
    and on from its checkpoint. `say` shows one line to a person; default: nothing is shown. Raises BadInput if no node has what
    workers ask for, ClusterLost once the whole cluster is lost.
    """

    def __init__(
        self, job: JobT, begin: Begin[JobT, UnitT, EventT], address: str | None = None, say: Say = lambda line: None
    ) -> None:
        import ray

        self._ray: Ray = ray
        self._share, self._begin, self._say = job.workers, begin, say
        self._lost = False
        self._own = not ray.is_initialized()
        if self._own:
            start(ray, address)
        self._cluster = Cluster(ray)
        try:
            self._need = self._cluster.need(self._share)
        except BaseException:
            self.close()
            raise
        self._metrics = Metrics(job.name, job.counters)

    @property
    def workers(self) -> int:
        """Return how many actors the cluster has room for."""
        return max(1, self._cluster.limit(self._share, self._need))

    def close(self) -> None:
        """End the Ray that was started here."""
        self._cluster.close()
        if not self._own:
            return
        if self._lost:
            private.kill(self._ray)
        else:
            self._ray.shutdown()

    def execute(
        self, job: JobT, units: Iterable[UnitT] | Queue[UnitT], drain: threading.Event
    ) -> Iterator[EventT | Failed[UnitT]]:
        """Yield the events of all units as they come; see `Executor.execute`."""
        pool = ActorPool(self._ray, job, self._begin, self._cluster, self._need)
        try:
            for event in Dispatch(pool, Queue.of(units), drain, self._say).run():
                self._metrics.count(event, pool.ready)
                yield event
        except ClusterLost:
            self._lost = True
            raise
        finally:
            self._metrics.count_workers(0)
            if not self._lost:
                pool.close()
