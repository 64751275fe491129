"""Proof that a store is what its campaign says: every planned row once, from these shards and weights, in the ball."""

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import models, networks, records, shards
from pipeline.campaign import BadInput, Cell
from pipeline.job import Job
from pipeline.plan import Unit
from pipeline.rows import SCHEMA
from pipeline.shards import Sample
from pipeline.store import Store


def verify(job: Job) -> Iterator[str]:
    """What is wrong with a store, one line each; nothing if all is well."""
    store, planned = Store(job.store), list(job.expected())
    names, done = {unit.name for unit in planned}, store.done()
    yield from (f"{name}: no such unit is planned" for name in sorted(done - names))
    yield from (f"{unit.name}: planned, but not done" for unit in planned if unit.name not in done)
    yield from _weights(job)
    yield from _looks(job)
    keys: Counter[tuple[str, str]] = Counter()
    for shard, some in _by_shard(planned).items():
        try:
            samples = shards.read(job.shards[shard], range(job.shards[shard].images))
        except shards.Changed as error:
            yield str(error)
            continue
        for unit in some:
            data = store.read(store.results(unit))
            if data is not None:
                yield from _unit(job, store, unit, data, [samples[place] for place in job.places(unit)], keys)
    yield from (f"cell {cell}: image {key} has {n} rows" for (cell, key), n in keys.items() if n > 1)


def _by_shard(planned: list[Unit]) -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = {}
    for unit in planned:
        found.setdefault(unit.shard, []).append(unit)
    return found


def _weights(job: Job) -> Iterator[str]:
    for name, model in job.campaign.models.items():
        try:
            models.checked(model)
        except BadInput as error:
            yield f"model {name}: {error}"
    for name, attack in job.campaign.attacks.items():
        try:
            networks.checked(attack)
        except BadInput as error:
            yield f"attack {name}: {error}"


def _looks(job: Job) -> Iterator[str]:
    """Whether each look of a stop rule is what the rows say; units that came later than it are left out, as they were then."""
    for cell in job.cells:
        for look in job.looks(cell):
            seen = job.seen(cell, look.round, look.without)
            if seen != look.model_copy(update={"without": ()}):
                yield f"cell {cell}: the look after round {look.round} says {look.rate}, the rows say {seen.rate}"


def _unit(
    job: Job, store: Store, unit: Unit, data: bytes, samples: list[Sample], keys: Counter[tuple[str, str]]
) -> Iterator[str]:
    """What is wrong with one unit's file."""
    cell = job.cells[unit.cell]
    try:
        table = pq.read_table(io.BytesIO(data), partitioning=None)
    except pa.ArrowInvalid as error:
        yield f"{unit.name}: no Parquet file: {error}"
        return
    if not table.schema.equals(SCHEMA):
        yield f"{unit.name}: other columns than this version writes"
        return
    rows = table.to_pylist()
    keys.update((row["cell"], row["image_key"]) for row in rows)
    if [row["image_key"] for row in rows] != [sample.key for sample in samples]:
        yield f"{unit.name}: its images are not those of the shard, one row each"
        return
    for row, sample in zip(rows, samples, strict=True):
        yield from (f"{unit.name}, {sample.key}: {fault}" for fault in _row(row, sample, cell, unit))
    if job.campaign.save_adversarial:
        yield from _examples(store, unit, cell, rows, samples)


def _row(row: dict[str, Any], sample: Sample, cell: Cell, unit: Unit) -> Iterator[str]:
    if (row["cell"], row["campaign"], row["unit"]) != (cell.name, cell.identity, unit.name):
        yield "the row is of another campaign or unit"
    if row["status"] != "ok":
        return
    if row["label"] != sample.label:
        yield f"label {row['label']}, the shard says {sample.label}"
    if row[cell.attack.norm] > cell.attack.eps + 1e-5:
        yield f"{cell.attack.norm} distance {row[cell.attack.norm]:.5f}, outside eps {cell.attack.eps:.5f}"
    for side in ("clean", "adv"):
        top5 = np.array(row[f"{side}_top5"])
        if top5.shape != (cell.judged_by, 5):
            yield f"{side}_top5 has the shape {top5.shape}, expected ({cell.judged_by}, 5)"
            continue
        hits = top5 == row["label"]
        for name, count in ((f"{side}_correct", hits[:, 0].sum()), (f"{side}_top5_correct", hits.any(1).sum())):
            if row[name] != count:
                yield f"{name} is {row[name]}, {count} follows from {side}_top5"


def _examples(store: Store, unit: Unit, cell: Cell, rows: list[dict[str, Any]], samples: list[Sample]) -> Iterator[str]:
    """Whether every stored example is there and in the ball around the image of the shard."""
    good = [(row, sample) for row, sample in zip(rows, samples, strict=True) if row["status"] == "ok"]
    if not good:
        return
    data = store.read(store.adversarial(unit))
    if data is None:
        yield f"{unit.name}: its adversarial examples are missing"
        return
    pictures = records.pictures(data)
    for row, sample in good:
        if sample.key not in pictures:
            yield f"{unit.name}, {sample.key}: its adversarial example is missing"
            continue
        delta = (pictures[sample.key].astype(float) - shards.decode(sample.image, cell.resize, cell.crop)) / 255
        distance = np.abs(delta).max() if cell.attack.norm == "linf" else np.sqrt((delta**2).sum())
        if distance > cell.attack.eps + 1e-5 or abs(distance - row[cell.attack.norm]) > 1e-4:
            yield f"{unit.name}, {sample.key}: the stored example is {distance:.5f} away, eps {cell.attack.eps:.5f}"
