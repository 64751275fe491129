"""Stores with a content that is known: rows by the real code, times and accuracies by hand."""

import json
import os

import torch
import yaml

from pipeline.campaigns.prepare import prepare
from pipeline.config.campaign import parse
from pipeline.store import checkpoints, cuts, formats, schema
from pipeline.store.layout import Store

DRAWS = 4
"""Evaluation draws of `tiny.campaign` where the defense is random."""


def made(content, folder):
    """Return a job whose store holds nothing but its campaign."""
    job = prepare(parse(content, "c.yaml"), str(folder))
    job.write_down()
    return job


def planned(folder, cell, images, cut):
    """Make a store that plans one cell of one shard `s` with so many images, and nothing else."""
    content = {"campaign": {"name": "made", "data": {"limit": None}}, "shards": [{"url": "s.tar", "images": images}]}
    store = Store(folder)
    store.create("campaign.yaml", yaml.safe_dump(formats.hashed(content | {"identity": {cell: ""}})).encode())
    cuts.write(store, {cell: cut})
    return store


def unit_of(job, cell, place):
    """Return a unit of a cell, by its place in the order of shards."""
    return sorted((unit for unit in job.units() if unit.cell == cell), key=lambda unit: (unit.shard, unit.start))[place]


def commit(job, unit, at, seconds=1.0, right=(), failed=(), device="cpu x86_64", gradients=None):
    """Write a unit's rows. `right` draws of each image, clean all; `failed` reasons of the last images; `seconds` an image."""
    cell = job.cells[unit.cell]
    gradients = cell.cost.gradients if gradients is None else gradients
    found, attacked = [], unit.images - len(failed)
    for i in range(unit.images):
        row = {"image_key": f"{unit.shard}-{unit.start + i}", "cell": unit.cell, "unit": unit.name, "device": device,
               "evaluation_draws": cell.judged_by}  # fmt: skip
        if i < attacked:
            row |= {"status": "ok", "clean_correct": cell.judged_by, "adv_correct": right[i] if right else 0,
                    "grad_evals": gradients, "forward_evals": 2, "seconds": seconds}  # fmt: skip
        else:
            row |= {"status": failed[i - attacked], "grad_evals": 0, "forward_evals": 0, "seconds": 0.0}
        found.append(row)
    name = Store(job.store).results(unit)
    assert Store(job.store).create(name, schema.encode(found, {}))
    touch(job, name, at)


def checkpointed(job, unit, at, step, seconds, steps=6):
    """Write a unit's checkpoint."""
    head = checkpoints.Header(unit.name, job.cells[unit.cell].identity, step, steps, unit.images, seconds)
    name = Store(job.store).checkpoint(unit)
    Store(job.store).replace(name, checkpoints.encode(head, {"x": torch.zeros(2)}))
    touch(job, name, at)


def park(job, unit, errors=("Traceback ...\nRuntimeError: no luck",)):
    attempts = [{"worker": f"w{i}@host{i}", "host": f"host{i}", "when": "2026-01-01T00:00:00+00:00", "error": error}
                for i, error in enumerate(errors)]  # fmt: skip
    content = {"unit": unit.name, "attempts": attempts}
    Store(job.store).replace(f"parked/{unit.name}.json", json.dumps(content).encode())


def touch(job, name, at):
    """Set a file's time, in seconds since 1970."""
    os.utime(f"{job.store}/{name}", (at, at))
