"""Run campaigns: in this process, or as a user does, as a command; and read their rows. Name one of each kind of defense."""

import os
import subprocess
import sys
from collections import Counter
from typing import Any

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
from tests.support import tiny
from tests.support.source.pages import ROOT

SMALL: dict[str, dict[str, Any]] = {
    "barrage": {"k": 2, "transforms": ["color_precision", "grey_mix", "grey_one_channel"]},
    "gaussian": {"sigma": 0.1},
    "resize_pad": {"sizes": [32, 38]},
    "crop_ensemble": {"crops": 2, "share": 0.7},
    "bit_depth": {"bits": [2, 5]},
    "jpeg": {"quality": [50, 90]},
    "tv": {"keep": 0.5},
    "feature_noise": {"layers": "0", "sigma": 0.2, "at": "output"},
    "dropout": {"layers": ["2"], "rate": 0.2},
    "purifier": {"module": "tests.support.stochastic:denoiser", "timestep": 60, "steps": 2},
    "module": {"module": "tests.support.stochastic:noise"},
    "compose": {"parts": [{"kind": "gaussian", "sigma": 0.1}, {"k": 1, "transforms": ["color_precision", "grey_mix"]}]},
}
"""Settings of each kind by which draws differ."""


def of_kind(pattern, kind, **changes):
    """A tiny campaign behind a defense of this kind, as a mapping."""
    attack = {"eps": "8/255", "steps": 3, "step_size": "4/255", "eot_draws": 2}
    content = tiny.campaign(pattern, defenses={"mine": {"kind": kind} | SMALL[kind]}, attacks={"pgd": attack})
    content |= {"cells": [{"model": "net", "defense": "mine", "attack": "pgd"}], "evaluation_draws": 3}
    content["data"] = content["data"] | {"limit": 4}
    return content | changes


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
