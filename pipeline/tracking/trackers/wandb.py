"""Track a run in Weights & Biases, or in its offline folder where WANDB_MODE says so."""

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.escaped import command
from pipeline.tracking.tracked_run import TrackedRun

PROJECT = "barrage"
"""The project of all runs, if neither --track nor WANDB_PROJECT names another."""


class Wandb:
    """Log metrics and the settings; the images done are the step."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        entity, _, project = run.destination.rpartition("/")
        self._run = wandb.init(
            entity=entity or None,
            project=project or os.environ.get("WANDB_PROJECT") or PROJECT,
            id=run.id,
            name=run.id,
            resume="allow",
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True),
        )
        self._run.config.update(dict(run.settings), allow_val_change=True)
        self.place = self._run.url or f"offline; send it later: {command('wandb', 'sync', Path(self._run.dir).parent)}"

    def log(self, figures: Mapping[str, float], images: int) -> None:
        """Log all figures as one step."""
        self._run.log(dict(figures), step=images)

    def end(self, exit_code: int) -> None:
        """Finish the run with the exit code, and wait until all is sent."""
        self._run.finish(exit_code)
