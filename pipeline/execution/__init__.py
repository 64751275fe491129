"""Run units of a job: in this process, or by the actors of a Ray cluster.

An executor turns units into events: those that the job's work yields, and `Failed` for an attempt that failed. It keeps no
record of what is done; the job's files do. What a unit is, and how it is done, is the job's business.
"""

from pipeline.execution.executor import Executor
from pipeline.execution.local import LocalExecutor
from pipeline.execution.outcome import Outcome, Stop, stopping
from pipeline.execution.protocol import Begin, Event, Job, Unit, Work
from pipeline.execution.queue import ATTEMPTS, Failed, Queue
from pipeline.execution.ray import RayExecutor

__all__ = [
    "ATTEMPTS",
    "Begin",
    "Event",
    "Executor",
    "Failed",
    "Job",
    "LocalExecutor",
    "Outcome",
    "Queue",
    "RayExecutor",
    "Stop",
    "Unit",
    "Work",
    "stopping",
]
