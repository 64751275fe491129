"""Define `barrage train`: train a classifier, or the networks that BPDA differentiates transforms by."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from pipeline.cli.common import Here, Modules, TrainingFile, allow, answer, err, note, out, shown, store_of
from pipeline.escaped import command

if TYPE_CHECKING:
    from pipeline.execution.outcome import Outcome


def train(
    config: TrainingFile,
    store: Annotated[str | None, typer.Option(help="the folder of the results; default: the file's own store")] = None,
    here: Here = False,
    allow_module: Modules = None,
) -> None:
    """Train a classifier or BPDA networks, or resume a training: barrage train campaigns/train/cifar10-bart.yaml"""
    from pipeline.config.bpda_training import kind

    allow(allow_module, config)
    train_kind = {"bpda": _train_bpda, "classifier": _train_classifier}[kind(config)]
    outcome, url = train_kind(config, store, here)
    if outcome.stopped_by:
        note(f"stopped; resume with: {command('barrage', 'train', config, '--store', url)}")
    if outcome.failed_units:
        note("; run the command again to retry", f"failed: {', '.join(outcome.failed_units)}")
    raise typer.Exit(outcome.exit_code)


def _train_bpda(config: Path, store: str | None, here: bool) -> "tuple[Outcome, str]":
    """Train the networks that imitate transforms; return how it ended and where they are."""
    from pipeline.cli.training_progress import BpdaReporter
    from pipeline.config.bpda_training import load
    from pipeline.execution import LocalExecutor, RayExecutor
    from pipeline.training.bpda_job import prepare
    from pipeline.training.bpda_trainer import begin_bpda
    from pipeline.training.run import train_networks as execute

    settings = load(config)
    job = prepare(settings, store_of(settings, store), note)
    executor = LocalExecutor(begin_bpda) if here or not job.todo() else RayExecutor(job, begin_bpda)
    with closing(executor):
        outcome = execute(job, executor, BpdaReporter(err))
    if not outcome.stopped_by:
        _show_networks(job.store)
    return outcome, job.store


def _train_classifier(config: Path, store: str | None, here: bool) -> "tuple[Outcome, str]":
    """Train a classifier; return how it ended and where its files are."""
    from pipeline.cli.training_progress import ClassifierReporter
    from pipeline.config.classifier_training import load
    from pipeline.execution import LocalExecutor
    from pipeline.training import curves
    from pipeline.training.classifier_job import prepare
    from pipeline.training.classifier_trainer import begin_classifier
    from pipeline.training.ray_train import RayTrainExecutor
    from pipeline.training.run import train_classifier as execute

    settings = load(config)
    job = prepare(settings, store_of(settings, store), note)
    executor = LocalExecutor(begin_classifier) if here or not job.todo() else RayTrainExecutor(job)
    with closing(executor):
        outcome = execute(job, executor, ClassifierReporter(err))
    if not outcome.stopped_by and not outcome.failed_units:
        drawn = "curves.png" if curves.draw(job.store) else "curves.parquet (a picture too with: pip install 'barrage[plots]')"
        files = f"weights: {job.store}/model.safetensors; what they are: {job.store}/manifest.json; "
        answer(f"{files}curves: {job.store}/{drawn}")
    return outcome, job.store


def _show_networks(store: str) -> None:
    from pipeline.models.bpda_networks import entries

    caption = "errors: mean squares on images kept out of training; cosines: with the exact input gradient, where there is one"
    head = ("transform", "error", "identity's\nerror", "cosine", "identity's\ncosine")
    view = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    for entry, _ in entries(store).values():
        cosines = ("" if value is None else f"{value:.3f}" for value in (entry.cosine, entry.identity_cosine))
        view.add_row(shown(entry.transform), f"{entry.error:.2e}", f"{entry.identity_error:.2e}", *cosines)
    out.print(view)
