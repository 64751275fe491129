"""A job of pretended units, to see how executors treat workers: what a unit does is in its name, what is done is in files."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.config.fields import Share
from pipeline.errors import Drained
from pipeline.execution import Event


@dataclass(frozen=True)
class Task:
    """A unit. `does` names a function below."""

    name: str
    does: str = "nothing"
    seconds: float = 0.0
    counted_as: str | None = "cell"


@dataclass(frozen=True)
class Went(Event[Task]):
    """A unit went on, as Progress says it of a real one."""

    draw_gradients: int
    seconds: float

    @property
    def totals(self) -> dict[str, float]:
        return {"draw_gradients": self.draw_gradients, "worker_seconds": self.seconds}


@dataclass(frozen=True)
class Through(Event[Task]):
    """A unit is done, as Finished says it of a real one; and where."""

    draw_gradients: int
    seconds: float
    pid: int
    node: str

    ends: ClassVar[bool] = True

    @property
    def totals(self) -> dict[str, float]:
        return {"draw_gradients": self.draw_gradients, "worker_seconds": self.seconds, "units_done": 1, "images_failed": 0}


@dataclass(frozen=True)
class Job:
    """`folder` gets begun/TASK.PID when a task is begun and done/TASK when it is through."""

    folder: str
    workers: Share
    name: str = "pretended"
    counters: ClassVar[dict[str, str]] = {
        "draw_gradients": "work", "worker_seconds": "time", "units_done": "units", "images_failed": "images"
    }  # fmt: skip

    def done(self) -> list[str]:
        return sorted(path.name for path in Path(self.folder, "done").glob("*"))

    def begun(self, task: str) -> list[int]:
        """The processes that began a task, the first one first."""
        paths = sorted(Path(self.folder, "begun").glob(f"{task}.*"), key=lambda path: path.stat().st_mtime_ns)
        return [int(path.name.rpartition(".")[2]) for path in paths]


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("stays where it is")


def job(folder, **workers):
    for part in ("begun", "done"):
        Path(folder, part).mkdir(exist_ok=True)
    return Job(str(folder), Share(**workers))


def begin(job, device, drain: threading.Event):
    """The work of such a job."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    if Path(job.folder, "no-begin").exists():
        raise RuntimeError("weights are not there")

    def work(task: Task) -> Iterator[Went | Through]:
        Path(job.folder, "begun", f"{task.name}.{os.getpid()}").touch()
        yield from globals()[task.does](task, drain, job)
        with Path(job.folder, "done", task.name).open("x"):  # only once
            yield Through(task, 10, task.seconds, os.getpid(), node)

    return work


def nothing(task, drain, job):
    yield from ()


def goes(task, drain, job):
    """Steps of 50 ms, which hear of a drain."""
    for step in range(int(task.seconds / 0.05)):
        time.sleep(0.05)
        if drain.is_set():
            raise Drained(task.name)
        yield Went(task, step, step * 0.05)


def deaf(task, drain, job):
    """Goes on whatever it is told, the first time that it is tried."""
    for step in range(int(task.seconds / 0.05) if len(job.begun(task.name)) == 1 else 0):
        time.sleep(0.05)
        yield Went(task, step, step * 0.05)


def first_sleeps(task, drain, job):
    """Gives no event the first time that it is tried."""
    if len(job.begun(task.name)) == 1:
        time.sleep(600)
    yield from ()


def first_breaks(task, drain, job):
    """The GPU is broken the first time that it is tried."""
    if len(job.begun(task.name)) == 1:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    yield from ()


def fails(task, drain, job):
    raise Unpicklable("no good")
    yield
