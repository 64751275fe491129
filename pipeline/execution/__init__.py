"""Where units are worked on: in this process, or by the actors of a Ray cluster. The only package that knows Ray.

An executor turns units into events: Progress and Finished from a worker, Failed when an attempt came to nothing. It keeps
no record of what is done; files do that. What a unit is, and what is done with it, is the job's: a campaign's units are
attacked, a training's are transforms that get their networks.
"""

from pipeline.execution.local import LocalExecutor
from pipeline.execution.protocol import Executor
from pipeline.execution.queue import Failed
from pipeline.execution.ray.executor import RayExecutor

__all__ = ["Executor", "Failed", "LocalExecutor", "RayExecutor"]
