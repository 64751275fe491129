"""Hold what the jobs of both kinds of training share."""

from collections.abc import Mapping
from typing import ClassVar

from pipeline.config.bpda_training import BpdaTraining
from pipeline.config.classifier_training import ClassifierTraining
from pipeline.config.fields import Share
from pipeline.data.shards import Shard
from pipeline.training import record


class TrainingJob:
    """Describe a training for an executor (`pipeline.execution.Job`); subclasses are frozen dataclasses with these fields."""

    training: BpdaTraining | ClassifierTraining
    shards: tuple[Shard, ...]

    counters: ClassVar[Mapping[str, str]] = {}

    @property
    def name(self) -> str:
        """Return the name of the training."""
        return self.training.name

    @property
    def workers(self) -> Share:
        """Return what each worker gets."""
        return self.training.workers

    @property
    def data(self) -> str:
        """Return a hash of the images."""
        return record.hash_of_images(self.shards, self.training.data)
