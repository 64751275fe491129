"""Track a run in MLflow: in a server, a database or a folder, wherever its URI leads."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.tracking.tracked_run import Setting, TrackedRun

EXPERIMENT = "barrage"
"""The experiment of all runs, if MLFLOW_EXPERIMENT_NAME names no other."""

TAG = "barrage.id"
"""The tag by which a run is found again: MLflow gives each run an id of its own."""

MOST_METRICS, MOST_PARAMETERS = 1000, 100
"""Values that MLflow takes in one call."""


class MLflow:
    """Log metrics and parameters. A parameter of MLflow never changes, so a setting that did is a tag of the same name."""

    def __init__(self, run: TrackedRun) -> None:
        import mlflow

        self._client = mlflow.MlflowClient(run.destination or None)
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run = self._earlier(number, run.id) or self._begun(number, run.id)
        self._client.update_run(self._run, "RUNNING")
        self._set(run.settings)
        where = run.destination or mlflow.get_tracking_uri()
        self.place = f"experiment {experiment}, run {run.id}, in {where}"

    def log(self, figures: Mapping[str, float], images: int) -> None:
        """Log a metric for each figure."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, images) for name, value in figures.items()]
        for some in _parts(metrics, MOST_METRICS):
            self._client.log_batch(self._run, metrics=some)

    def end(self, exit_code: int) -> None:
        """End the run: FINISHED, FAILED, or KILLED where a signal stopped it."""
        self._client.set_terminated(self._run, "FINISHED" if exit_code == 0 else "KILLED" if exit_code > 128 else "FAILED")

    def _earlier(self, experiment: str, tag: str) -> str | None:
        """Return the id that MLflow gave to the run with a tag; None if there is none."""
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{tag}'", max_results=1)
        return found[0].info.run_id if found else None

    def _begun(self, experiment: str, tag: str) -> str:
        """Begin a run with a tag, and return the id that MLflow gives to it."""
        return str(self._client.create_run(experiment, tags={TAG: tag}, run_name=tag).info.run_id)

    def _set(self, settings: Mapping[str, Setting]) -> None:
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(self._run).data.params
        texts = {name: str(value) for name, value in settings.items()}
        for some in _parts([Param(name, text) for name, text in texts.items() if name not in known], MOST_PARAMETERS):
            self._client.log_batch(self._run, params=some)
        changed = [RunTag(name, text) for name, text in texts.items() if known.get(name, text) != text]
        for some in _parts(changed, MOST_PARAMETERS):
            self._client.log_batch(self._run, tags=some)


def _parts(things: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Yield things in order, in lists of `most` or fewer."""
    every = list(things)
    return (every[begun : begun + most] for begun in range(0, len(every), most))
