"""Run campaigns: in this process, or as a user does, as a command; and read their rows."""

import os
import subprocess
import sys
from collections import Counter

from rich.console import Console

from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.execution import LocalExecutor
from pipeline.store import committed
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.store.schema import LATEST, MEASURED
from tests.support.source.pages import ROOT

ROUNDED = ("linf", "l2", *LATEST)
"""Columns whose last digits depend on how a network rounds in another batch: distances by a step, margins and norms always."""


def ran(content, store):
    """Run a campaign in this process; return its job and the outcome."""
    job = prepare(parse(content, "c.yaml"), str(store))
    return job, run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))


def rows(store, without=()):
    """Return the rows of a store without what was measured and the columns `without`, {(cell, image key): {column: value}}."""
    drop = {*MEASURED, *without}
    found = results(str(store)).to_pylist()
    return {(row["cell"], row["image_key"]): {k: v for k, v in row.items() if k not in drop} for row in found}


def command(campaign, store, *verb, **variables):
    """Start `barrage` on one thread as a user would, with the words `verb` (default: run); return the process."""
    ours = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    environment = os.environ | ours | variables
    arguments = [sys.executable, "-m", "pipeline", *(verb or ("run",)), str(campaign), "--store", str(store)]
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def decided(store, without=()):
    """Return what the campaign decides of every row, and how often each is there: {((column, value), ...): times}."""
    drop = {*MEASURED, *without}
    found = results(str(store)).to_pylist()
    return Counter(tuple(sorted((k, str(v)) for k, v in row.items() if k not in drop)) for row in found)


def in_use(store):
    """Return the names of the files that readers of a store open."""
    return [name for names in committed.files(Store(str(store)))[1].values() for name in names]


def in_order(store):
    """Return all rows as dicts, sorted by cell and image key."""
    return sorted(results(str(store)).to_pylist(), key=lambda row: (row["cell"], row["image_key"]))


def checkpoints(store, but=()):
    """Return the checkpoints of a store and when they were written, {path: ns}; `but` those already known."""
    found = {}
    for path in (store / "checkpoints").glob("[!.]*"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return {p: t for p, t in found.items() if (p, t) not in dict(but).items()}
