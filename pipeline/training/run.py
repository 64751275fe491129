"""Run a training, which is also how to resume one: whatever the store lacks is trained."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline.execution import Executor, Failed, Outcome, stopping
from pipeline.models import bpda_networks, weights
from pipeline.training.bpda_job import BpdaJob
from pipeline.training.bpda_trainer import NetworkProgress, NetworkTrained
from pipeline.training.classifier_job import ClassifierJob
from pipeline.training.classifier_trainer import ClassifierProgress, ClassifierTrained, Evaluated, TrainingEvent
from pipeline.training.unit import TrainingUnit


class NetworksReporter(Protocol):
    """Show the events of a training of BPDA networks to a person."""

    def watching(self, job: BpdaJob, transforms: Sequence[str]) -> AbstractContextManager[None]:
        """Show progress while the training lasts; `transforms` are those still to do."""
        ...

    def progress(self, event: NetworkProgress) -> None:
        """Show how far a network is."""
        ...

    def finished(self, event: NetworkTrained) -> None:
        """Show that a network is stored."""
        ...

    def failed(self, event: Failed[TrainingUnit]) -> None:
        """Show that an attempt failed."""
        ...


class ClassifierReporter(Protocol):
    """Show the events of a training of a classifier to a person."""

    def watching(self, job: ClassifierJob) -> AbstractContextManager[None]:
        """Show progress while the training lasts."""
        ...

    def progress(self, event: ClassifierProgress) -> None:
        """Show how far the training is."""
        ...

    def evaluated(self, event: Evaluated) -> None:
        """Show an accuracy on held-out images."""
        ...

    def finished(self, event: ClassifierTrained) -> None:
        """Show that the model is stored."""
        ...

    def failed(self, event: Failed[TrainingUnit]) -> None:
        """Show that an attempt failed."""
        ...


def train_networks(
    job: BpdaJob, executor: Executor[BpdaJob, TrainingUnit, NetworkProgress | NetworkTrained], reporter: NetworksReporter
) -> Outcome:
    """Train every network that the store lacks, and write the manifest after each."""
    job.write_down()
    todo, given_up = job.todo(), list[str]()
    with stopping() as stop, reporter.watching(job, [unit.name for unit in todo]):
        for event in executor.execute(job, todo, stop.drain):
            match event:
                case NetworkProgress():
                    reporter.progress(event)
                case NetworkTrained():
                    bpda_networks.write_manifest(job.store)
                    reporter.finished(event)
                case Failed():
                    given_up += [event.unit.name] if event.final else []
                    reporter.failed(event)
    bpda_networks.write_manifest(job.store)  # an earlier run may have ended between a network and the manifest
    return Outcome(0, tuple(given_up), stop.signal)


def train_classifier(
    job: ClassifierJob, executor: Executor[ClassifierJob, TrainingUnit, TrainingEvent], reporter: ClassifierReporter
) -> Outcome:
    """Train the classifier, unless it is in the store."""
    job.write_down()
    given_up = list[str]()
    with stopping() as stop, reporter.watching(job):
        for event in executor.execute(job, job.todo(), stop.drain):
            match event:
                case ClassifierProgress():
                    reporter.progress(event)
                case Evaluated():
                    reporter.evaluated(event)
                case ClassifierTrained():
                    reporter.finished(event)
                case Failed():
                    given_up += [event.unit.name] if event.final else []
                    reporter.failed(event)
    weights.write_manifest(job.store)  # an earlier run may have ended between the weights and the manifest
    return Outcome(0, tuple(given_up), stop.signal)
