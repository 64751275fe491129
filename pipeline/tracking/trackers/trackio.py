"""Track a run in Trackio: in its folder on this machine, or in a Space where TRACKIO_SPACE_ID names one."""

from collections.abc import Mapping

from pipeline.escaped import command
from pipeline.tracking.tracked_run import TrackedRun

PROJECT = "barrage"
"""The project of all runs, if --track names no other."""


class Trackio:
    """Log metrics and the settings; the images done are the step."""

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        project = run.destination or PROJECT
        self.place = command("trackio", "show", "--project", project)
        self._run = trackio.init(
            project, run.id, config=dict(run.settings), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )

    def log(self, figures: Mapping[str, float], images: int) -> None:
        """Log all figures as one step."""
        self._run.log(dict(figures), step=images)

    def end(self, exit_code: int) -> None:
        """Finish the run, and wait until all is sent. Trackio keeps no exit code."""
        self._run.finish()
