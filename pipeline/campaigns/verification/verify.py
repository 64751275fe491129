"""Check that a store is what its campaign describes: every planned row once, from these shards and weights, in the ball."""

import threading
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from barrage_plugins import permits
from pipeline.campaigns import definition_versions
from pipeline.campaigns.attempt import certificates, image_rows
from pipeline.campaigns.attempt.image_rows import Picture
from pipeline.campaigns.job import Job
from pipeline.campaigns.verification.rejudge import chosen, disagreements
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import Cell
from pipeline.config.model import Model
from pipeline.data import earlier_pixels, pictures, shards
from pipeline.data.shards import Sample
from pipeline.errors import BadInput, ShardUnusable
from pipeline.models import architectures, bpda_networks, loading
from pipeline.planning.units import Unit
from pipeline.scoring import decided
from pipeline.scoring.decided import DECIDED
from pipeline.scoring.rules import of_row
from pipeline.storage import urls
from pipeline.store import compacted, mixing, sealed
from pipeline.store.formats import StoreWarning
from pipeline.store.layout import Store, stem_of
from pipeline.store.planned_cells import content_of
from pipeline.store.rows import table

TIE = 1e-5
"""A margin of probabilities that is no more than this above or below 0 says nothing about which class is first."""

FEW = 256
"""Rows that are objects at a time."""

MEASURES = ("image_key", "linf", "l2")
"""What the check of a stored example needs of its row."""

Row = dict[str, Any]
Attacked = list[tuple[Row, Picture]]
"""Rows of attacked images, and the images of the shard."""


def verify(job: Job, sample: int = 0, device: torch.device | str = "cpu") -> Iterator[str]:
    """Yield one line for each fault of a store; none if it is sound. `sample` images are judged again.

    Issues a StoreWarning if rows of several commits or environments are mixed, and for each cell whose definitions have another
    version now: its verdicts cannot be made again. Raises BadInput if a model needs a module that is not allowed.
    """
    store, planned = Store(job.store), list(job.expected())
    names, done = {unit.name for unit in planned}, store.unit_files()
    foreign = sorted(done.keys() - names)
    yield from (f"{name}: no such unit is planned; move {done[name]} away" for name in foreign)
    yield from (f"{unit.name}: planned, but not done" for unit in planned if unit.name not in done)
    changed, outdated, decoding = _changed(job, sample > 0), _outdated(job), definition_versions.decoding(job.store)
    identities = {name: cell.identity for name, cell in job.cells.items()} | outdated
    yield from changed.values()
    yield from _interim_checks(job)
    judges = Worker(replace(job, modules=frozenset()), torch.device(device), threading.Event())
    sound = [unit for unit in planned if unit.name in done and unit.cell not in changed | outdated]
    again = chosen(sound, sample, job.campaign.seed)
    for cell in {unit.cell: job.cells[unit.cell] for unit in sound if unit.name in again}.values():
        judges.defended(cell)
    origins = Counter[mixing.Origin]()
    for shard, units in _by_shard(planned).items():
        try:
            samples = shards.read(job.shards[shard], range(job.shards[shard].images))
        except ShardUnusable as error:
            yield str(error)
            samples = []
        images = Counter[tuple[str, str]]()
        if decoding != pictures.VERSION:
            yield from (f"{found}: its rows are wrong" for found in earlier_pixels.differing(shard, samples))
        for unit in (unit for unit in units if unit.name in done):
            try:
                rows = _rows(store, unit, done[unit.name])
            except BadInput as error:
                yield f"{unit.name}: {error}"
                continue
            origins += mixing.counted(rows)
            yield from _strangers(rows, unit, identities[unit.cell])
            if samples:
                images.update((unit.cell, key) for key in rows["image_key"].to_pylist())
                mine = [samples[place] for place in job.places(unit)]
                yield from _unit(judges, store, unit, rows, mine, again.get(unit.name, ()))
        twice = ((image, n) for image, n in images.items() if n > 1)
        yield from (f"cell {cell}: image {key} of shard {shard} has {n} rows" for (cell, key), n in twice)
    for name in job.cells if not foreign else ():  # with foreign rows, no copy is used
        yield from sealed.differences(store, name)
    mixing.warn(origins)


def _rows(store: Store, unit: Unit, name: str) -> pa.Table:
    """Return the rows of a unit, from the file `name`: its own, or a compacted one of release 0.1. Raises BadInput."""
    path = urls.join(store.url, name)
    if compacted.is_compacted(stem_of(name)):
        with store.open(name) as file:
            return compacted.rows_of(file, path, unit.name)
    data = store.read(name)
    if data is None:
        raise BadInput(f"{path} is gone: run the campaign again")
    return table(data, path, whole=True)


def _by_shard(planned: list[Unit]) -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = {}
    for unit in planned:
        found.setdefault(unit.shard, []).append(unit)
    return found


def _changed(job: Job, built: bool) -> dict[str, str]:
    """Return the cells whose weights or networks are not those of the campaign, {cell: what is wrong}.

    built  models are built too, whose functions may return others now
    """
    faults: dict[tuple[str, str], str] = {}
    for name, model in job.campaign.models.items():
        try:
            loading.checked(model)
            if built and model.contents_sha256 and _may_run(model):
                loading.build(model)
        except BadInput as error:
            faults["model", name] = f"model {name}: {error}"
    for name, attack in job.campaign.attacks.items():
        try:
            bpda_networks.checked(attack)
        except BadInput as error:
            faults["attack", name] = f"attack {name}: {error}"
    sources = {name: (("model", cell.model_name), ("attack", cell.attack_name)) for name, cell in job.cells.items()}
    return {name: faults[part] for name, parts in sources.items() for part in parts if part in faults}


def _may_run(model: Model) -> bool:
    """Return whether a model needs no module that is not allowed; one that does is refused where it is to judge."""
    return not architectures.of_a_function(model.architecture) or permits(model.architecture.partition(":")[0])


def _outdated(job: Job) -> dict[str, str]:
    """Return the identities that the store records for cells whose definitions have another version now, and warn of each."""
    found = definition_versions.outdated(job.campaign, job.store)
    for name, changed in found.items():
        text = f"cell {name}: {changed}: its verdicts can only be made again by the release that wrote them"
        warnings.warn(text, StoreWarning, stacklevel=3)
    recorded = content_of(Store(job.store), job.store)["identity"] if found else {}
    return {name: recorded.get(name, "") for name in found}


def _strangers(rows: pa.Table, unit: Unit, identity: str) -> Iterator[str]:
    """Yield a fault for each row of a unit's file that is of another cell, shard, unit or identity."""
    names = ("image_key", "cell", "shard", "campaign", "unit")
    for key, *found in zip(*(rows[name].to_pylist() for name in names), strict=True):
        if found != [unit.cell, unit.shard, identity, unit.name]:
            yield f"{unit.name}, {key}: the row is of another campaign or unit"


def _interim_checks(job: Job) -> Iterator[str]:
    """Compare each interim check of a stop rule with the rows. Units without rows at its time are left out, as they were."""
    for cell in job.cells:
        for check in job.interim_checks(cell):
            now = job.compute_check(cell, check.round, check.without)
            if now.rule_version != check.rule_version:
                versions = f"version {check.rule_version} of its rule, this program has version {now.rule_version}"
                yield f"cell {cell}: the interim check after round {check.round} is by {versions}"
            elif not check.agrees(now):
                yield f"cell {cell}: the interim check after round {check.round} says {check.rate}, the rows say {now.rate}"


def _unit(
    judges: Worker,
    store: Store,
    unit: Unit,
    found: pa.Table,
    samples: list[Sample],
    again: Collection[int],
) -> Iterator[str]:
    """Yield the faults of the rows and examples of one unit. Images at the places `again` are judged again."""
    cell = judges.job.cells[unit.cell]
    keys = found["image_key"].to_pylist()
    if keys != [sample.key for sample in samples]:
        yield f"{unit.name}: its images are not those of the shard, one row each"
        return
    yield from _together(found, unit)
    attacked, chosen = [], {keys[place] for place in again}
    for row, sample in zip(_few_at_a_time(found), samples, strict=True):
        _, picture = image_rows.decoded(sample, cell)
        yield from (f"{unit.name}, {sample.key}: {fault}" for fault in _row(row, sample, picture, cell))
        if row["status"] == "ok" and picture is not None:
            attacked.append((row if sample.key in chosen else {name: row[name] for name in MEASURES}, picture))
    for key, fault in _pictures(judges, store, unit, attacked, chosen):
        yield f"{unit.name}, {key}: {fault}"


def _together(rows: pa.Table, unit: Unit) -> Iterator[str]:
    """Yield a fault for each row in which what its draws together are right in does not follow from its lists."""
    for name in DECIDED:
        pairs = zip(rows["image_key"].to_pylist(), rows[name].to_pylist(), decided.column(rows, name).to_pylist(), strict=True)
        yield from (f"{unit.name}, {key}: {name} is {said}, {right} follows" for key, said, right in pairs if said != right)


def _few_at_a_time(rows: pa.Table) -> Iterator[Row]:
    """Yield rows as objects, of which a row with its lists takes ten kilobytes: a few hundred are held at a time."""
    for piece in rows.to_batches(max_chunksize=FEW):
        yield from piece.to_pylist()


def _row(row: Row, sample: Sample, picture: Picture | None, cell: Cell) -> Iterator[str]:
    if (row["status"] in ("ok", "failed")) != (picture is not None):
        yield f"status {row['status']}, but the image can {'not ' if picture is None else ''}be attacked"
    if row["status"] != "ok":
        return
    if row["label"] != sample.label:
        yield f"label {row['label']}, the shard says {sample.label}"
    if row.get(cell.attack.norm, 0) > cell.attack.eps + 1e-5:  # of L1 and L0 only the stored example tells
        yield f"{cell.attack.norm} distance {row[cell.attack.norm]:.5f}, outside eps {cell.attack.eps:.5f}"
    if wrong := certificates.fault(cell, row):
        yield wrong
    yield from _counts(row, cell)


def _counts(row: Row, cell: Cell) -> Iterator[str]:
    """Yield the counts of a row that do not follow from its lists of classes."""
    if row["evaluation_draws"] != cell.judged_by:
        yield f"evaluation_draws is {row['evaluation_draws']}, the cell is judged by {cell.judged_by}"
    for side in ("clean", "adv"):
        top5 = np.array(row[f"{side}_top5"])
        if top5.shape != (cell.judged_by, 5):
            yield f"{side}_top5 has the shape {top5.shape}, expected ({cell.judged_by}, 5)"
            return
        if np.shape(row[f"{side}_mean_top5"]) != (5,):
            yield f"{side}_mean_top5 is {row[f'{side}_mean_top5']}, expected five classes"
            return
        hits = top5 == row["label"]
        for name, count in ((f"{side}_correct", hits[:, 0].sum()), (f"{side}_top5_correct", hits.any(1).sum())):
            if row[name] != count:
                yield f"{name} is {row[name]}, {count} follows from {side}_top5"
        margin, first = row[f"{side}_margin"] or 0.0, row[f"{side}_mean_top5"][0]
        if (margin > TIE and first != row["label"]) or (margin < -TIE and first == row["label"]):
            yield f"{side}_margin is {margin:.4f}, but {side}_mean_top5 begins with {first}"
    if row["target"] is not None and row["target_hits"] != (hits := int((top5[:, 0] == row["target"]).sum())):
        yield f"target_hits is {row['target_hits']}, {hits} follows from adv_top5"
    yield from _skipped(row, cell)


def _skipped(row: Row, cell: Cell) -> Iterator[str]:
    """Yield a fault if an image was skipped, or was not, against `skip_misclassified`, or if its example is not the image."""
    rule, skipped = cell.skip_misclassified, row["first_break"] == 0
    if skipped != (rule is not None and of_row(row, rule, "clean", 1) == 0):
        yield f"{'no' if skipped else 'an'} attack was spent on it, against skip_misclassified: {rule or 'off'}"
    if skipped and (row["grad_evals"] or row["linf"] or row["adv_top5"] != row["clean_top5"]):
        yield "it was skipped, but its example is not the image itself"


def _pictures(
    judges: Worker, store: Store, unit: Unit, attacked: Attacked, chosen: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield (image key, fault) for the stored examples of a unit.

    Each must be in its ball and at the distance in its row. Those of the images `chosen` must get the verdict in their row.
    """
    cell, stored = judges.job.cells[unit.cell], None
    if judges.job.campaign.save_adversarial and attacked:
        try:
            stored = image_rows.pictures(store.read(store.adversarial(unit)) or b"")
        except ValueError as error:
            stored = {}
            yield "all", f"the adversarial examples are missing or damaged ({error})"
        yield from (
            (row["image_key"], fault)
            for row, picture in attacked
            for fault in _example(stored.get(row["image_key"]), row, picture, cell)
        )
    again = [(row, picture) for row, picture in attacked if row["image_key"] in chosen]
    if stored is not None:
        again = [(row, picture) for row, picture in again if stored.get(row["image_key"], np.empty(0)).shape == picture.shape]
    if again:
        examples = None if stored is None else [stored[row["image_key"]] for row, _ in again]
        yield from disagreements(judges, cell, [row for row, _ in again], [picture for _, picture in again], examples)


def _example(stored: Picture | None, row: Row, picture: Picture, cell: Cell) -> Iterator[str]:
    if stored is None or stored.shape != picture.shape:
        yield "its adversarial example is missing"
        return
    delta = (stored.astype(float) - picture) / 255
    size = np.abs(delta)
    found = {"linf": float(size.max()), "l2": float(np.sqrt((delta**2).sum()))}
    away = {**found, "l1": float(size.sum()), "l0": float((size > 0).sum())}[cell.attack.norm]
    if away > cell.attack.eps + 1e-5 or any(abs(found[norm] - row[norm]) > 1e-4 * max(1, found[norm]) for norm in found):
        said = ", ".join(f"{norm} {row[norm]:.5f}" for norm in found)
        yield f"the stored example is {away:.5f} away, eps {cell.attack.eps:.5f} in {cell.attack.norm}, and the row says {said}"
