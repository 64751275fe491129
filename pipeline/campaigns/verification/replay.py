"""Attack one image of a store again, and compare the row that comes out with the row that the store holds, value for value.

What happens to an image depends on the seed, the cell, its shard and its key, and on nothing else. So an image that is attacked
alone goes through the same draws and steps as it did among the other images of its unit. What may differ is rounding: see
`replay`.
"""

import json
import math
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import torch

from pipeline.campaigns import definition_versions
from pipeline.campaigns.attempt.alone import may_be_an_image, said
from pipeline.campaigns.attempt.image_rows import Row
from pipeline.campaigns.job import Job
from pipeline.campaigns.worker import Worker
from pipeline.data import order, shards
from pipeline.errors import BadInput, ShardUnusable
from pipeline.planning.units import Unit
from pipeline.store import rows
from pipeline.store.layout import Store
from pipeline.store.schema import LATEST, MEASURED, SCHEMA

COMPARED = tuple(name for name in SCHEMA.names if name not in MEASURED)
"""The columns that must come out the same: all but those that tell how a run went."""


TOLERATED = {"clean_margin": {"abs_tol": 1e-3}, "adv_margin": {"abs_tol": 1e-3}, "gradient_norm": {"rel_tol": 1e-2}}
"""Columns that are no counts, and how far apart their values may be: a network rounds otherwise in a batch of another size."""


@dataclass(frozen=True)
class Difference:
    """Hold a column whose value is not the same: as the store has it, and as it is now."""

    column: str
    stored: Any
    now: Any


@dataclass(frozen=True)
class Replay:
    """Hold what came of one row: no `differences` if it is the same, else what differs, and `reasons` that may explain it;
    `compared` counts the values that were compared.
    """

    row: Row
    differences: tuple[Difference, ...] = ()
    reasons: tuple[str, ...] = ()
    compared: int = len(COMPARED)


def _same(column: str, stored: Any, now: Any) -> bool:
    """Return whether two values of a column are the same; numbers of TOLERATED may be rounded otherwise."""
    if column in TOLERATED and stored is not None and now is not None:
        return math.isclose(stored, now, **{"rel_tol": 0.0} | TOLERATED[column])
    return bool(stored == now)


def find(url: str, image: str, cells: Sequence[str] | None = None, shard: str | None = None) -> list[Row]:
    """Return the rows of an image, one for each cell and shard that holds it, with all columns.

    Raises BadInput with the nearest key if there are none, or for a cell that the store lacks.
    """
    places, known = dict[str, set[str]](), set[str]()
    for batch in rows.batches(url, ["image_key", "cell", "shard"], cells):
        known.update(batch["image_key"].unique().to_pylist())
        for row in rows.with_key(batch, image):
            if shard in (None, row["shard"]):
                places.setdefault(row["cell"], set()).add(row["shard"])
    if not places:
        raise BadInput(_unknown(url, image, shard, known))
    whole = (row for batch in rows.batches(url, None, list(places)) for row in rows.with_key(batch, image))
    return [row for row in whole if row["shard"] in places[row["cell"]]]


def replay(job: Job, row: Row, device: torch.device, together: bool = False) -> Replay:
    """Attack the image of a row again, and compare the rows; `row` with all columns.

    The image is attacked alone, or `together` with the images of its unit, as the run did. A library may round a convolution
    otherwise where its batch has another size: then an image alone may come out with other values, and among the images of its
    unit it does not; columns of TOLERATED may differ by that. Those of `schema.LATEST` that are null in the row were not
    measured when it was made. Raises BadInput if the image cannot be attacked: the store's campaign has no such image, or its
    shard, weights or networks are missing or are others than they were.
    """
    cell = job.cells.get(row["cell"])
    if cell is None or row["campaign"] != cell.identity:
        identity = cell.identity if cell else None
        changed = definition_versions.outdated(job.campaign, job.store).get(row["cell"])
        reason = "the row was made by another campaign than the store's campaign.yaml describes, so nothing was attacked"
        reason = f"{changed}, so nothing was attacked: replay it with the release that wrote it" if changed else reason
        return Replay(row, (Difference("campaign", row["campaign"], identity),), (reason,))
    place = _place(job, row)
    unit = _unit(job, row, place)
    alone = Unit(unit.cell, unit.shard, place, place + 1)
    try:
        now = _attacked(job, unit if together else alone, row["image_key"], device) | {"unit": unit.name}
    except Exception as error:
        if not may_be_an_image(error, unit.images + 1):
            raise
        if (row["status"], row["error"]) == ("failed", said(error)):
            return Replay(row)
        raise BadInput(f"image {row['image_key']}: its attack failed here: {said(error)}") from None
    unmeasured = {name for name in LATEST if row[name] is None and now[name] is not None}
    held = [name for name in COMPARED if name not in unmeasured]
    differences = tuple(Difference(name, row[name], now[name]) for name in held if not _same(name, row[name], now[name]))
    return Replay(row, differences, tuple(_reasons(row, now, together)) if differences else (), len(held))


def with_stack(job: Job, stack: int | None) -> Job:
    """Return a job whose workers send `stack` draws through the model at once; default: found as a run finds it."""
    workers = job.workers.model_copy(update={"stack": stack})
    return replace(job, campaign=job.campaign.model_copy(update={"workers": workers}))


def _unknown(url: str, image: str, shard: str | None, known: set[str]) -> str:
    """Return the message that a store has no row of an image, with the nearest key."""
    if image in known:
        return f"store {url} holds no row of image {image} in shard {shard}: leave --shard out to see it in all shards"
    near = get_close_matches(image, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"expected a key of its rows, such as {min(known)}"
    return f"store {url} holds no row of image {image}: {hint}"


def _place(job: Job, row: Row) -> int:
    """Return the place of the row's image in the order in which its shard is attacked. Raises BadInput if it is not there."""
    shard = job.shards.get(row["shard"])
    if shard is None:
        raise BadInput(f"image {row['image_key']}: the store's campaign has no shard {row['shard']}")
    try:
        samples = shards.read(shard, range(shard.images))
    except ShardUnusable as error:
        raise BadInput(str(error)) from None
    attacked = order.order(job.campaign.seed, shard.name, job.images[shard.name])
    for place, at in enumerate(attacked):
        if samples[at].key == row["image_key"]:
            return place
    raise BadInput(f"image {row['image_key']}: shard {shard.url} holds no image of that key that the campaign attacks")


def _unit(job: Job, row: Row, place: int) -> Unit:
    """Return the unit in which the campaign attacks an image."""
    for unit in job.units():
        if (unit.cell, unit.shard) == (row["cell"], row["shard"]) and unit.start <= place < unit.stop:
            return unit
    raise BadInput(f"image {row['image_key']}: no unit of cell {row['cell']} holds it")


def _attacked(job: Job, unit: Unit, image: str, device: torch.device) -> Row:
    """Attack a unit as a worker does, in a store of its own that is gone afterwards, and return the row of one image."""
    with tempfile.TemporaryDirectory(prefix="barrage-replay-") as folder:
        worker = Worker(replace(job, store=folder), device, threading.Event())
        for _ in worker.attack(unit):
            pass
        made = Store(folder).read(Store(folder).results(unit)) or b""
        return next(row for row in rows.table(made, folder).to_pylist() if row["image_key"] == image)


def _reasons(row: Row, now: Mapping[str, Any], together: bool) -> Iterator[str]:
    """Yield what may explain that a row came out otherwise: another device, commit or library than here."""
    for name, what in (("device", "ran on"), ("commit", "was made by commit")):
        if row[name] != now[name]:
            yield f"the row {what} {row[name]}, this is {now[name]}"
    yield from _libraries(row["versions"], now["versions"])
    if (row["commit"] or "").endswith("+"):
        yield f"the code of commit {row['commit'][:-1]} had changes that were not committed, so it may not be this code"
    if all(row[name] == now[name] for name in ("device", "commit", "versions")):
        alone = (
            "" if together else "; or it was rounded otherwise among the images of its unit: --together attacks them as well"
        )
        yield f"device, code and libraries are those of the row: the row was changed after it was written{alone}"


def _libraries(before: str | None, now: str) -> Iterator[str]:
    """Yield the libraries whose versions differ; `before` (of a row) and `now` are JSON objects {name: version}."""
    then, here = json.loads(before or "{}"), json.loads(now)
    for name in dict.fromkeys([*then, *here]):
        if then.get(name) != here.get(name):
            yield f"the row was made with {name} {then.get(name, 'missing')}, here it is {here.get(name, 'missing')}"
