"""Run a training, which is also how to resume one: whatever the store lacks is trained."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline.execution import Executor
from pipeline.execution.outcome import Outcome, stopping
from pipeline.execution.queue import Failed
from pipeline.models import bpda_networks, weights
from pipeline.training.bpda_job import TrainingJob
from pipeline.training.bpda_trainer import Step, Trained
from pipeline.training.classifier_job import RecipeJob
from pipeline.training.classifier_trainer import Learned, Learning, Looked


class NetworksReporter(Protocol):
    """Show the events of a training of BPDA networks to a person."""

    def watching(self, job: TrainingJob, transforms: Sequence[str]) -> AbstractContextManager[None]:
        """Show progress while the training lasts."""
        ...

    def progress(self, event: Step) -> None:
        """Show how far a network is."""
        ...

    def finished(self, event: Trained) -> None:
        """Show that a network is stored."""
        ...

    def failed(self, event: Failed) -> None:
        """Show that an attempt failed."""
        ...


class ClassifierReporter(Protocol):
    """Show the events of a training of a classifier to a person."""

    def watching(self, job: RecipeJob) -> AbstractContextManager[None]:
        """Show progress while the training lasts."""
        ...

    def progress(self, event: Learning) -> None:
        """Show how far the training is."""
        ...

    def looked(self, event: Looked) -> None:
        """Show an accuracy on held-out images."""
        ...

    def finished(self, event: Learned) -> None:
        """Show that the model is stored."""
        ...

    def failed(self, event: Failed) -> None:
        """Show that an attempt failed."""
        ...


def train(job: TrainingJob, executor: Executor, reporter: NetworksReporter) -> Outcome:
    """Trains every network that the store lacks, and writes the manifest after each."""
    job.write_down()
    todo, failed = job.todo(), list[str]()
    with stopping() as stop, reporter.watching(job, todo):
        for event in executor.execute(job, todo, stop.drain):
            match event:
                case Step():
                    reporter.progress(event)
                case Trained():
                    bpda_networks.write_manifest(job.store)
                    reporter.finished(event)
                case Failed():
                    failed += [event.unit] if event.final else []
                    reporter.failed(event)
    bpda_networks.write_manifest(job.store)  # of files that an earlier run left without it
    return Outcome(0, tuple(failed), stop.signal)


def learn(job: RecipeJob, executor: Executor, reporter: ClassifierReporter) -> Outcome:
    """Trains the classifier that the store lacks."""
    job.write_down()
    failed = list[str]()
    with stopping() as stop, reporter.watching(job):
        for event in executor.execute(job, job.todo(), stop.drain):
            match event:
                case Learning():
                    reporter.progress(event)
                case Looked():
                    reporter.looked(event)
                case Learned():
                    reporter.finished(event)
                case Failed():
                    failed += [event.unit] if event.final else []
                    reporter.failed(event)
    weights.write_manifest(job.store)  # of a file that an earlier run left without it
    return Outcome(0, tuple(failed), stop.signal)
