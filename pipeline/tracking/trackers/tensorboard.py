"""Write a run as event files of TensorBoard; every run on a store adds a file to the same folder."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.escaped import command
from pipeline.tracking.tracked_run import TrackedRun

FOLDER = "tensorboard"
"""Where runs are written if no folder is given."""


class TensorBoard:
    """Write scalars, and the settings as hyperparameters."""

    def __init__(self, run: TrackedRun) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = Path(run.destination or FOLDER).absolute()
        self.place = command("tensorboard", "--logdir", folder)
        self._writer = EventFileWriter(str(folder / run.id))
        self._write(hparams_pb(dict(run.settings), trial_id=run.id), 0)

    def log(self, figures: Mapping[str, float], images: int) -> None:
        """Write a scalar for each figure."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]), images)
        self._writer.flush()

    def end(self, exit_code: int) -> None:
        """Close the file. TensorBoard keeps no exit code."""
        self._writer.close()

    def _write(self, summary: object, images: int) -> None:
        import time

        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=images, summary=summary))
