"""Train a classifier by several workers on Ray Train.

Each worker is a process with a device; `pipeline.training.process_group` joins them. Checkpoints are the store's, not Ray
Train's, so a training goes on the same way if Ray Train restarts its workers or a person starts the command again.
"""

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.config.fields import Share
from pipeline.errors import BadInput, Drained
from pipeline.execution import ATTEMPTS, Failed, Queue
from pipeline.execution.ray import cluster
from pipeline.execution.ray.private import Handle, Ray
from pipeline.execution.ray.start import start
from pipeline.training.classifier_job import ClassifierJob
from pipeline.training.classifier_trainer import ClassifierTrainer, TrainingEvent
from pipeline.training.process_group import Group
from pipeline.training.unit import TrainingUnit

POLL_SECONDS = 0.5
"""Between two questions for news, on either side."""


class Mailbox:
    """Pass events from the workers to the driver, and its request to stop to the workers. An actor."""

    def __init__(self) -> None:
        self.events: list[TrainingEvent] = []
        self.leaving = False

    def put(self, event: TrainingEvent) -> None:
        """Add an event."""
        self.events.append(event)

    def take(self) -> list[TrainingEvent]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events

    def leave(self) -> None:
        """Ask the workers to stop."""
        self.leaving = True

    def must_leave(self) -> bool:
        """Return whether the workers are asked to stop."""
        return self.leaving


def members(share: Share, gpus: bool, room: int) -> int:
    """Return the workers of a group: as many as asked for; else one per GPU; else one. Raises BadInput without room."""
    count = share.count or (room if gpus else 1)
    if count > room:
        raise BadInput(f"workers.count is {count}, there is room for {room}: ask for fewer or smaller ones")
    return count


class RayTrainExecutor:
    """Train on a group of workers: as many as the job asks for, or one per GPU, or else one. If one is lost, all restart."""

    def __init__(self, job: ClassifierJob, address: str | None = None) -> None:
        import ray

        self._ray: Ray = ray
        self._started = None if ray.is_initialized() else start(ray, address)
        self._cluster = cluster.Cluster(ray)
        try:
            self._need = self._cluster.need(job.workers)
            self.workers = members(job.workers, bool(self._need.gpus), self._cluster.view.room(self._need))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the Ray that was started here."""
        self._cluster.close()
        if self._started:
            self._started.end()

    def execute(
        self, job: ClassifierJob, units: Iterable[TrainingUnit] | Queue[TrainingUnit], drain: threading.Event
    ) -> Iterator[TrainingEvent | Failed[TrainingUnit]]:
        """Yield the events of all units in turn; see `pipeline.execution.Executor.execute`."""
        queue = Queue.of(units)
        while not drain.is_set() and (unit := queue.take("the group")) is not None:
            mailbox = self._ray.remote(num_cpus=0, enable_task_events=False)(Mailbox).remote()
            errors: list[Exception] = []
            fit = threading.Thread(target=self._fit, args=(job, unit, mailbox, errors), daemon=True)
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
            if errors and not drain.is_set():
                yield Failed(unit, f"{type(errors[0]).__name__}: {' '.join(str(errors[0]).split())[-600:]}", True)

    def _fit(self, job: ClassifierJob, unit: TrainingUnit, mailbox: Handle, errors: list[Exception]) -> None:
        """Run the group to its end; an error is added to `errors`."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        need = self._need
        share = {"CPU": need.cpus} | ({"GPU": need.gpus} if need.gpus else {})
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as notes:  # Ray Train's own files, of no later use
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
                errors.append(error)


def _work(config: dict[str, Any]) -> None:
    """Do what one worker of the group does, from start to end; `config` is the `train_loop_config` of `_fit`."""
    import ray
    import torch
    from ray.train import get_context
    from ray.train.torch import get_device

    context, mailbox, drain = get_context(), config["mailbox"], threading.Event()
    group = Group(context.get_world_rank(), context.get_world_size())
    torch.set_num_threads(max(1, int(config["job"].workers.cpus)))

    def listen() -> None:
        while not drain.is_set():
            if ray.get(mailbox.must_leave.remote()):
                drain.set()
            time.sleep(POLL_SECONDS)

    if group.first:
        threading.Thread(target=listen, daemon=True).start()
    try:
        for event in ClassifierTrainer(config["job"], get_device(), drain, group)(config["unit"]):
            if group.first:
                ray.get(mailbox.put.remote(event))
    except Drained:
        return
