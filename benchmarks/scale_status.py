"""Measure `barrage status` on a store of a million units, nearly all done: python -m benchmarks.scale status

A thousand result files hold real rows, and the names of the other units are links to them. Each call is a process of its own,
as for a user. A store with a tenth of the units comes first, to show growth.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.campaigns.job import Job
from pipeline.config.campaign import parse
from pipeline.data.shards import Shard
from pipeline.planning.units import Unit
from pipeline.store import schema
from pipeline.store.layout import Store

CELLS, IMAGES, DRAWS, KINDS = 20, 16, 20, 1000


def campaign(units: int, folder: str) -> Job:
    """Return a job of `units` units, with 20 cells and shards of 1,000 images. Neither weights nor shards are read."""
    content: dict[str, Any] = {
        "name": "scale",
        "data": {"shards": "none.tar"},
        "models": {"resnet50": {"architecture": "torchvision:resnet50", "weights": "DEFAULT"}},
        "defenses": {f"bart{k}": {"k": k} for k in range(1, 11)},
        "attacks": {"pgd40": {"kind": "pgd", "eps": "8/255"}, "pgd40-l2": {"kind": "pgd", "eps": 2, "norm": "l2"}},
        "cells": [{"model": "resnet50", "defense": [f"bart{k}" for k in range(1, 11)], "attack": ["pgd40", "pgd40-l2"]}],
        "unit_images": IMAGES,
    }
    images, most = units // CELLS * IMAGES, 1000 // IMAGES * IMAGES
    names = [f"train-{place:06d}" for place in range(-(-images // most))]
    sizes = [min(most, images - place * most) for place in range(len(names))]
    shards = {name: Shard(f"{name}.tar", "0" * 64, 1, size, (0, 999)) for name, size in zip(names, sizes, strict=True)}
    return Job(parse(content, "benchmark"), shards, folder).with_cuts({})


def row(unit: Unit, place: int) -> dict[str, Any]:
    top5 = [[(place * draw) % 1000, 1, 2, 3, 4] for draw in range(DRAWS)]
    return {
        "image_key": f"{unit.shard}-{place}", "cell": unit.cell, "status": "ok", "evaluation_draws": DRAWS, "clean_top5": top5,
        "adv_top5": top5, "clean_correct": 12, "adv_correct": place % 7, "grad_evals": 400, "forward_evals": 40,
        "seconds": 50.0, "device": "Tesla V100-SXM2-16GB", "unit": unit.name,
    }  # fmt: skip


def fill(job: Job, done: int) -> None:
    """Commit the first `done` units, a second apart."""
    store, kinds, began = Store(job.store), list[Path](), time.time() - done
    for place, unit in enumerate(job.units()):
        if place == done:
            return
        path = Path(job.store) / store.results(unit)
        if len(kinds) < KINDS:
            store.create(store.results(unit), schema.encode([row(unit, i) for i in range(place, place + unit.images)], {}))
            os.utime(path, (began + place * done // KINDS,) * 2)
            kinds.append(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(kinds[place % KINDS], path)


def measured(store: str) -> tuple[float, float, str]:
    """Return the seconds and peak GB of one `barrage status`, and its lines on all cells together."""
    code = "from pipeline.__main__ import app; app(standalone_mode=False); print(open('/proc/self/status').read())"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, "status", store], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", done.stdout, re.M)
    lines = [line for line in done.stdout.splitlines() if re.match(r"[\d,]+/[\d,]+ units|accuracy", line)]
    return seconds, int(peak) / 1e6, "; ".join(lines)


def run(args: argparse.Namespace) -> None:
    for units in (args.units // 10, args.units):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            job = campaign(units, folder)
            began = time.perf_counter()
            job.write_down()
            written = time.perf_counter() - began
            fill(job, units - units // 1000)
            seconds, peak, lines = measured(folder)
            print(
                f"{units:>9,} units: status {seconds:.1f} s, {peak:.2f} GB; campaign.yaml written in {written:.1f} s; {lines}"
            )


def add(commands: Any) -> None:
    parser = commands.add_parser("status", description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where the store is made; a million links need a file system that has room for names")
    parser.set_defaults(run=run)
