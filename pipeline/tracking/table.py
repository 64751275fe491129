"""List the trackers, to which other packages add, and refuse those that are not installed."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import NamedTuple

from barrage_plugins import Registry
from pipeline.errors import BadInput
from pipeline.tracking.tracked_run import TrackedRun, Tracker
from pipeline.tracking.trackers import mlflow, tensorboard, trackio, wandb


class Kind(NamedTuple):
    """Describe a kind of tracker.

    start    begins a tracked run, or goes on with the one of the same `TrackedRun.id`
    package  what Python imports for it; a run is refused, before any work, where that is not installed
    """

    start: Callable[[TrackedRun], Tracker]
    package: str


TRACKERS: Registry[Kind] = Registry(
    "tracker",
    "trackers",
    builtin={
        "tensorboard": Kind(tensorboard.TensorBoard, "tensorboard"),
        "mlflow": Kind(mlflow.MLflow, "mlflow"),
        "wandb": Kind(wandb.Wandb, "wandb"),
        "trackio": Kind(trackio.Trackio, "trackio"),
    },
    expected="a pipeline.tracking.table.Kind",
    accepts=lambda name, thing: isinstance(thing, Kind),
)
"""The trackers by name, with those of other packages (`barrage.trackers`)."""


def split(text: str) -> tuple[str, str]:
    """Return the name and the destination of what stands behind --track, NAME or NAME:DESTINATION."""
    name, _, destination = text.partition(":")
    return name, destination


def refuse_missing(asked: Iterable[str]) -> None:
    """Raise BadInput for a tracker whose package is not installed, or one that is asked for twice; PluginError if unknown."""
    seen = set[str]()
    for text in asked:
        name, _ = split(text)
        kind = TRACKERS[name]
        if find_spec(kind.package) is None:
            what = f"'barrage[{name}]'" if name in TRACKERS.builtin else kind.package
            raise BadInput(f"--track {text} needs {kind.package}, which is not installed: pip install {what}")
        if text in seen:
            raise BadInput(f"--track {text} is given twice: give each destination once")
        seen.add(text)
