"""Define `barrage run`: attack every image of a campaign that its store lacks."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import completion
from pipeline.cli.common import CampaignFile, Here, Limit, Modules, allow, answer, err, note, store_of
from pipeline.cli.store.table import Format, print_table
from pipeline.escaped import command, python

if TYPE_CHECKING:
    from pipeline.campaigns.job import Job
    from pipeline.execution.outcome import Outcome

Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="show the run in tensorboard[:DIR], mlflow[:URI], wandb[:[ENTITY/]PROJECT] or trackio[:PROJECT]; repeat "
        "the option for more; see docs/tracking.md",
        autocompletion=completion.trackers,
    ),
]

NAMED = 3
"""Parked units that are named; the others are counted."""


@dataclass(frozen=True)
class How:
    """Say how a run goes; none of it decides a number. Fields are the options of the same names."""

    here: bool = False
    address: str | None = None
    retry_parked: bool = False
    track: tuple[str, ...] = ()

    @property
    def options(self) -> list[str]:
        """Return the options of a command that goes on in the same way, where another process may."""
        return [part for destination in self.track for part in ("--track", destination)]


AS_USUAL = How()


def run(
    campaign: CampaignFile,
    store: Annotated[
        str | None, typer.Option(help="where results go; default: the campaign's own store", autocompletion=completion.stores)
    ] = None,
    limit: Limit = None,
    here: Here = False,
    allow_module: Modules = None,
    retry_parked: Annotated[
        bool, typer.Option("--retry-parked", help="try again the units that failed three times and were parked")
    ] = False,
    track: Track = None,
    address: Annotated[
        str | None, typer.Option(help="of a Ray cluster; default: RAY_ADDRESS, else a cluster that is started here")
    ] = None,
    detached: Annotated[
        bool, typer.Option("--detach", help="run in a process of its own, which goes on when the terminal is closed")
    ] = False,
) -> None:
    """Run a campaign, or resume one: barrage run campaigns/demo.yaml"""
    from pipeline.tracking.table import refuse_missing

    allow(allow_module, campaign)
    refuse_missing(track or ())
    if not here:
        answering(address)
    how = How(here, address, retry_parked, tuple(track or ()))
    if detached:
        _detach(campaign, store, limit, how, allow_module)
    else:
        raise typer.Exit(attack(campaign, store, limit, how))


def attack(campaign: Path, store: str | None = None, limit: int | None = None, how: How = AS_USUAL) -> int:
    """Work on every unit of a campaign file that its store lacks, then print the table. Return the exit code."""
    began = time.monotonic()
    words = ["run", str(campaign), *_limited(limit)]
    return work(_prepared(campaign, store, limit), began, words, ["single"], how)


def work(job: "Job", began: float, words: Sequence[str], rules: list[str], how: How) -> int:
    """Work on every unit that a job's store lacks, then print the table under these decision rules. Return the exit code.

    began  when the command began, as `time.monotonic` tells
    words  of the command, without the store and how it goes: the same ones resume it
    """
    from pipeline.campaigns.parking import retry
    from pipeline.campaigns.run import run as execute
    from pipeline.campaigns.worker import attacking
    from pipeline.cli.tracked import Tracked
    from pipeline.execution import LocalExecutor, RayExecutor
    from pipeline.store.layout import Store

    again = command("barrage", *words, "--store", job.store, *how.options)
    if how.retry_parked:
        note(f"{retry(Store(job.store))} parked units will be tried again")
    try:
        executor = LocalExecutor(attacking) if how.here or job.over else RayExecutor(job, attacking, how.address, say=note)
        note(f"ready after {time.monotonic() - began:.1f} s, {executor.workers} workers, store {job.store}")
        reporter = Tracked(err, how.track)
        with closing(executor):
            outcome = execute(job, executor, reporter)
        reporter.end(outcome.exit_code)
    except (KeyboardInterrupt, SystemExit):  # a second signal, or one while Ray starts
        note(f"stopped at once; resume with: {again}")
        raise
    _conclude(outcome, words, again, job.store, rules)
    return outcome.exit_code


def _prepared(campaign: Path, store: str | None, limit: int | None) -> "Job":
    """Return the job of a campaign file. Raises BadInput, before anything is written."""
    from pipeline.campaigns.prepare import prepare
    from pipeline.config.campaign import load

    config = load(campaign, note).limited(limit)
    return prepare(config, store_of(config, store), note)


def _limited(limit: int | None) -> list[str]:
    """Return the words of a command that stand for a limit."""
    return [] if limit is None else ["--limit", str(limit)]


def answering(address: str | None) -> None:
    """Raise BadInput unless the Ray that is to be joined, if any, answers: before images and models are looked up."""
    from pipeline.execution.ray.start import check

    check(address)


def _detach(campaign: Path, store: str | None, limit: int | None, how: How, allow_module: list[str] | None) -> None:
    """Check the campaign, start its run as a process of its own, and say how to follow and stop it."""
    from pipeline.execution.detached import detach

    store = _prepared(campaign, store, limit).store
    arguments = ["run", str(campaign), "--store", store, *_limited(limit), *how.options, *(["--here"] if how.here else [])]
    arguments += [*(["--address", how.address] if how.address else []), *(["--retry-parked"] if how.retry_parked else [])]
    arguments += [option for module in allow_module or () for option in ("--allow-module", module)]
    process = detach(arguments, store)
    note(f"detached as process {process.pid}; follow it: {command('tail', '-f', process.log)}")
    note(f"what is done: {command('barrage', 'status', store)}")
    note(f"stop it: kill {process.pid} (it leaves checkpoints; the same command resumes)")


def _conclude(outcome: "Outcome", words: Sequence[str], again: str, store: str, rules: list[str]) -> None:
    """Say how the run ended and what to do next; show the table where it ended well."""
    from pipeline.store.layout import Store

    if outcome.stopped_by:
        note(f"stopped; resume with: {again}")
    elif outcome.refused:
        note(f" {outcome.refused}; mend that and resume with: {again}", "the run cannot continue:")
    elif Store(store).has_rows():
        _show_rows(store, rules)
    if outcome.blind_images:
        check = command("barrage", "check", words[1])
        note(f"; find out why with: {check}", f"{outcome.blind_images} images had no gradient")
    if outcome.failed_units:
        _show_parked(store, outcome.failed_units)
        note(f"; retry with: {again} --retry-parked", f"{len(outcome.failed_units)} parked after three failures")


def _show_rows(store: str, rules: list[str]) -> None:
    """Print the table, where the rows are and how to open them."""
    print_table(store, rules, Format.TERMINAL)
    more = f"; every decision rule: {command('barrage', 'table', store)}" if len(rules) == 1 else ""
    answer(f"rows: {store}/results/*.parquet{more}")
    source = f"from pipeline.store.rows import results; print(results({python(store)}).to_pandas())"
    answer(f"open them: {command('python', '-c', source)}")


def _show_parked(store: str, units: tuple[str, ...]) -> None:
    """Name a few parked units with the last line of their last error, and where the others are."""
    from pipeline.campaigns.parking import reason
    from pipeline.store.layout import Store

    for unit in units[:NAMED]:
        note(f"parked: {unit}: {reason(Store(store), unit)}")
    if len(units) > NAMED:
        note(f"parked: and {len(units) - NAMED} more, see parked/ in the store")
