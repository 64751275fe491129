"""Measure what a driver spends before work starts, on a campaign of a million units: python -m benchmarks.scale plan

Planning cuts every cell into units by a measured rate, writes the store, and lists all units. Resuming reads a store and makes
the queue, when all units but one in a thousand are done. Each is a process of its own, and its imports count. A run with a
tenth of the units comes first, to show growth. The script also shows what the cut saves: how long workers wait at the end of a
campaign, beside units of a quarter of an hour throughout.
"""

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.campaigns.job import Job, opened
from pipeline.campaigns.next_units import Release
from pipeline.config.campaign import parse
from pipeline.data.shards import Shard
from pipeline.execution.queue import Queue
from pipeline.planning import cost, unit_sizes
from pipeline.planning.units import units as units_of
from pipeline.store.layout import Store

CELLS, IMAGES = 20, 16


def campaign(units: int, store: str) -> tuple[Job, dict[str, float]]:
    """Return a job of about `units` units in 20 cells, and the rate of each cell: 16 images in a quarter of an hour.

    Shards have 1,000 images. Neither weights nor shards are read.
    """
    content: dict[str, Any] = {
        "name": "scale",
        "data": {"shards": "none.tar"},
        "models": {"resnet50": {"architecture": "torchvision:resnet50", "weights": "DEFAULT"}},
        "defenses": {f"bart{k}": {"k": k} for k in range(1, 11)},
        "attacks": {"pgd40": {"kind": "pgd", "eps": "8/255"}, "pgd40-l2": {"kind": "pgd", "eps": 2, "norm": "l2"}},
        "cells": [{"model": "resnet50", "defense": [f"bart{k}" for k in range(1, 11)], "attack": ["pgd40", "pgd40-l2"]}],
    }
    images, most = units // CELLS * IMAGES, 1000 // IMAGES * IMAGES
    names = [f"train-{place:06d}" for place in range(-(-images // most))]
    shards = {n: Shard(f"{n}.tar", "0" * 64, 1, min(most, images - i * most), (0, 999)) for i, n in enumerate(names)}
    job = Job(parse(content, "benchmark"), shards, store)
    rates = {name: cost.seconds_an_image(cell, 1.0) * IMAGES / unit_sizes.UNIT_SECONDS for name, cell in job.cells.items()}
    return job, rates


def plan(units: int, store: str) -> str:
    job, rates = campaign(units, store)
    job = job.with_cuts(rates).write_down()
    return f"{len(list(job.units())):,} units planned"


def resume(store: str) -> str:
    job = opened(store)
    release = Release(job, job.todo())
    return f"{len(Queue(release.ready())):,} units to do"


def fill(store: str) -> None:
    """Commit all units but one in a thousand. Their files are empty, since none is opened."""
    job = opened(store)
    folder = Path(store) / "results"
    folder.mkdir(parents=True)
    for place, unit in enumerate(job.units()):
        if place % 1000:
            os.close(os.open(folder / f"{unit.name}.parquet", os.O_CREAT | os.O_WRONLY))
    done = Store(store).done()
    print(f"{len(done):>9,} units done")


def measured(call: str) -> tuple[float, str]:
    """Return the seconds of a call of this module in a process of its own, and a line with its peak memory and output."""
    code = f"from benchmarks import scale_plan as s; print({call}); print(open('/proc/self/status').read())"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", done.stdout, re.M)
    return seconds, f"{seconds:.1f} s, {int(peak) / 1e6:.2f} GB: {done.stdout.splitlines()[0]}"


def tails() -> None:
    """Print how long workers wait at the end: three cells of 50,000 images, 1,600 draw-gradients an image, 2,000 a second."""
    content = {"name": "tails", "data": {"shards": "none.tar"}, "models": {"m": {"architecture": "torchvision:resnet50"}},
               "defenses": {f"k{k}": {"k": k} for k in (1, 5, 10)}, "attacks": {"pgd": {"eps": "8/255", "eot_draws": 40}},
               "cells": [{"model": "m", "defense": ["k1", "k5", "k10"], "attack": "pgd"}]}  # fmt: skip
    cells, images = list(parse(content, "benchmark").grid()), {f"val-{i:06d}": 1000 for i in range(50)}
    cuts = unit_sizes.cuts(parse(content, "benchmark"), cells, images, {cell.name: 2000.0 for cell in cells})
    each = cost.seconds_an_image(cells[0], 2000.0)
    seconds = [each * unit.images for unit in units_of(cells, images, cuts)]
    equal = [unit_sizes.UNIT_SECONDS] * math.ceil(sum(seconds) / unit_sizes.UNIT_SECONDS)
    print(f"{sum(seconds) / 3600:.0f} GPU-hours in {len(seconds)} units; time that workers wait at the end:")
    for workers in (1, 8, 64, 200, 512):
        idle, other = unit_sizes.idle(seconds, workers), unit_sizes.idle(equal, workers)
        print(f"{workers:>9,} workers: {100 * idle:.1f} %, with units of {unit_sizes.UNIT_SECONDS:.0f} s {100 * other:.1f} %")


def run(args: argparse.Namespace) -> None:
    tails()
    took = []
    for units in (args.units // 10, args.units):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            planning, line = measured(f"s.plan({units}, {folder!r})")
            print(f"{units:>9,} units: planning {line}", flush=True)
            fill(folder)
            resuming, line = measured(f"s.resume({folder!r})")
            print(f"{units:>9,} units: resuming {line}", flush=True)
            took.append((planning, resuming))
    (plan, resume), (plan_all, resume_all) = took
    print(f"ten times as many take {plan_all / plan:.1f} times as long to plan and {resume_all / resume:.1f} to resume")


def add(commands: Any) -> None:
    parser = commands.add_parser("plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where the store is made; a million files need a file system that has room for names")
    parser.set_defaults(run=run)
