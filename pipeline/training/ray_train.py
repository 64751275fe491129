"""The training of a classifier by several workers on Ray Train; with `pipeline.execution` all that knows Ray.

Each worker is a process with a device, `pipeline.training.process_group` joins them. What Train offers besides is left alone: checkpoints are
the store's, so that a training goes on the same whether Train restarts its workers or a person starts the command again.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from pipeline.config.fields import Share
from pipeline.errors import BadInput, Drained
from pipeline.execution.protocol import Units
from pipeline.execution.queue import ATTEMPTS, Failed, Queue
from pipeline.execution.ray import cluster
from pipeline.training.classifier_trainer import Learner
from pipeline.training.process_group import Group

POLL_SECONDS = 0.5
"""Between two looks for news, on either side."""


class Mailbox:
    """An actor between the workers and the driver: events one way, the wish to stop the other."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.leaving = False

    def put(self, event: Any) -> None:
        self.events.append(event)

    def take(self) -> list[Any]:
        found, self.events = self.events, []
        return found

    def leave(self) -> None:
        self.leaving = True

    def asked(self) -> bool:
        return self.leaving


def members(share: Share, gpus: bool, room: int) -> int:
    """The workers of a group: as many as are asked for, or one a GPU, or else one. Raises BadInput without room for them."""
    count = share.count or (room if gpus else 1)
    if count > room:
        raise BadInput(f"workers.count is {count}, there is room for {room}: ask for fewer or smaller ones")
    return count


class RayTrainExecutor:
    """As many workers as the job asks for, or one a GPU, or else one; a group that loses one is started again."""

    def __init__(self, job: Any, address: str | None = None) -> None:
        import ray

        self._ray: Any = ray
        self._own = not ray.is_initialized()
        if self._own:
            cluster.start(ray, address)
        self._cluster = cluster.Cluster(ray)
        try:
            self._need = self._cluster.need(job.workers)
            self.workers = members(job.workers, bool(self._need.gpus), self._cluster.view.room(self._need))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the Ray that was started here."""
        self._cluster.close()
        if self._own:
            self._ray.shutdown()

    def execute(self, job: Any, units: Units, drain: threading.Event) -> Iterator[Any]:
        """Events of all units, in turn."""
        queue = Queue.of(units)
        while not drain.is_set() and (unit := queue.take("the group")) is not None:
            mailbox = self._ray.remote(num_cpus=0)(Mailbox).remote()
            failure: list[Exception] = []
            fit = threading.Thread(target=self._fit, args=(job, unit, mailbox, failure), daemon=True)
            fit.start()
            asked = False
            while fit.is_alive():
                if drain.is_set() and not asked:
                    asked = True
                    mailbox.leave.remote()
                fit.join(POLL_SECONDS)
                yield from self._ray.get(mailbox.take.remote())
            yield from self._ray.get(mailbox.take.remote())
            self._ray.kill(mailbox)
            if failure and not drain.is_set():
                yield Failed(unit, f"{type(failure[0]).__name__}: {' '.join(str(failure[0]).split())[-600:]}", True)

    def _fit(self, job: Any, unit: Any, mailbox: Any, failure: list[Exception]) -> None:
        """Runs the group to its end."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        need = self._need
        share = {"CPU": need.cpus} | ({"GPU": need.gpus} if need.gpus else {})
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as notes:  # Train's own, of no use afterwards
            trainer = TorchTrainer(
                _work,
                train_loop_config={"job": job, "unit": unit, "mailbox": mailbox},
                scaling_config=ScalingConfig(
                    num_workers=self.workers,
                    use_gpu=bool(need.gpus),
                    resources_per_worker=share,
                    accelerator_type=need.accelerator,
                ),
                run_config=RunConfig(storage_path=notes, failure_config=FailureConfig(max_failures=ATTEMPTS - 1)),
            )
            try:
                trainer.fit()
            except Exception as error:
                failure.append(error)


def _work(told: dict[str, Any]) -> None:
    """A worker's whole life."""
    import ray
    import torch
    from ray.train import get_context
    from ray.train.torch import get_device

    context, mailbox, drain = get_context(), told["mailbox"], threading.Event()
    group = Group(context.get_world_rank(), context.get_world_size())
    torch.set_num_threads(max(1, int(told["job"].workers.cpus)))

    def listen() -> None:
        while not drain.is_set():
            if ray.get(mailbox.asked.remote()):
                drain.set()
            time.sleep(POLL_SECONDS)

    if group.first:
        threading.Thread(target=listen, daemon=True).start()
    try:
        for event in Learner(told["job"], get_device(), drain, group)(told["unit"]):
            if group.first:
                ray.get(mailbox.put.remote(event))
    except Drained:
        return
