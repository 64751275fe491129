"""Stores of any size with the real schema, whose accuracies are known: images of different difficulty, draws that agree more or
less, cells in which more transforms leave more. No model, no attack."""

import math

import numpy as np
import pyarrow as pa

from barrage_plugins import allow
from pipeline import provenance
from pipeline.campaigns.job import Job
from pipeline.campaigns.prepare import prepare
from pipeline.config.campaign import parse
from pipeline.config.defenses.barrage import BarrageDefense
from pipeline.data.pack import pack
from pipeline.data.shards import Shard
from pipeline.planning.units import Cut, Unit
from pipeline.store import schema
from pipeline.store.footers import Writer
from pipeline.store.layout import Store
from tests.support import tiny

CLASSES = 1000


def campaign(ks=range(11), attacks=None, **changes):
    """The grid of Table 1 and Figure 4 as a mapping: a model behind 0 to 10 transforms, under each attack."""
    attacks = attacks or {
        "pgd": {"eps": "8/255", "steps": 40, "eot_draws": 40},
        "pgd-random": {"eps": "8/255", "steps": 40, "eot_draws": 40, "goal": "random_target"},
        "fgsm-least": {"kind": "fgsm", "eps": "8/255", "eot_draws": 40, "goal": "least_likely"},
    }
    defenses = {f"bart{k}" if k else "none": {"k": k} for k in ks}
    return {
        "name": "synthetic",
        "data": {"shards": "none/val-000000.tar"},
        "models": {"resnet50": {"architecture": "torchvision:resnet50", "weights": "DEFAULT"}},
        "defenses": defenses,
        "attacks": attacks,
        "cells": [{"model": "resnet50", "defense": list(defenses), "attack": list(attacks)}],
        "evaluation_draws": 20,
    } | changes


def chances(cell, images):
    """The chance that a draw is right, (clean, attacked), each (images,): by difficulty, which is the images' own."""
    hard = np.random.default_rng(7).beta(1, 3, images)  # the same images in every cell
    k, strength = cell.defense.k, min(2.0, 255 * cell.attack.eps / 8) * (1 if cell.attack_name.startswith("pgd") else 0.4)
    clean = (1 - 0.6 * hard) * (0.95 - 0.02 * k)
    return clean, clean * (1 - np.exp(-0.06 * k / strength)) * (1 - 0.5 * hard)


def _fives(label, right, inside):
    """Lists of five classes (..., 5): the label first, or second, or not there."""
    wrong = (label[..., None] + 1 + np.arange(5)) % CLASSES
    five = np.where(right[..., None], np.concatenate([label[..., None], wrong[..., :4]], -1), wrong)
    five[..., 1] = np.where(inside & ~right, label, five[..., 1])
    return five.astype(np.int32)


def _lists(fives):
    """(n, draws, 5) as a column of lists of five."""
    n, draws, _ = fives.shape
    inner = pa.FixedSizeListArray.from_arrays(pa.array(fives.ravel()), 5)
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * draws, pa.int32()), inner)


def table(cell, unit, images, seed=0):
    """The rows of a unit, images `start` to `stop` of all."""
    draws, n = cell.judged_by, unit.images
    random = np.random.default_rng([seed, unit.start, *cell.name.encode()])
    label = (np.arange(unit.start, unit.stop) * 37) % CLASSES
    cost = cell.cost.gradients
    constant = {
        "shard": unit.shard, "cell": cell.name, "model": cell.model_name, "defense": cell.defense_name, "k": cell.defense.k,
        "attack": cell.attack_name, "policy": cell.attack.gradient, "mode": cell.attack.mode, "frozen": False,
        "norm": cell.attack.norm, "eps": cell.attack.eps, "steps": cell.built.steps, "eot_draws": cell.eot_draws,
        "evaluation_draws": draws, "status": "ok", "linf": cell.attack.eps, "l2": 5.0, "nonfinite_gradients": 0,
        "zero_gradients": 0, "grad_evals": cost, "forward_evals": 2 * draws, "seconds": cost / 2550, "device": "H100",
        "seed": cell.seed, "unit": unit.name, "campaign": cell.identity, "commit": provenance.commit(),
        "versions": provenance.versions(),
    }  # fmt: skip
    found = {name: pa.repeat(pa.scalar(value), n) for name, value in constant.items()}
    found["image_key"] = pa.array([f"image-{i:08d}" for i in range(unit.start, unit.stop)])
    found["label"] = pa.array(label, pa.int32())
    for side, chance in zip(("clean", "adv"), chances(cell, images), strict=True):
        right = random.random((n, draws)) < chance[unit.start : unit.stop, None]
        inside = right | (random.random((n, draws)) < 0.3)
        of = np.repeat(label[:, None], draws, 1)
        found[f"{side}_top5"] = _lists(_fives(of, right, inside))
        fives = _fives(label, 2 * right.sum(1) > draws, 2 * inside.sum(1) > draws)
        found[f"{side}_mean_top5"] = pa.FixedSizeListArray.from_arrays(pa.array(fives.ravel()), 5)
        found[f"{side}_correct"], found[f"{side}_top5_correct"] = pa.array(right.sum(1)), pa.array(inside.sum(1))
        hit = ~inside & (random.random((n, draws)) < 0.7)
    if cell.attack.goal != "untargeted":
        found |= {"target": pa.array((label + 1) % CLASSES), "target_hits": pa.array(hit.sum(1))}
    columns = [found.get(f.name, pa.nulls(n, f.type)).cast(f.type) for f in schema.SCHEMA]
    return schema.decide(pa.Table.from_arrays(columns, schema=schema.SCHEMA))


def store(folder, content=None, images=200, unit_images=100, failed=0, units=None):
    """Writes a store; the last `failed` images of each cell are damaged. `units` keeps only the first so many of each cell.
    Returns its job."""
    planned = parse((content or campaign()) | {"unit_images": unit_images}, "synthetic")
    shard = Shard("none/val-000000.tar", "0" * 64, 1, images, (0, CLASSES - 1))
    job = Job(planned, {shard.name: shard}, str(folder), {cell.name: Cut(unit_images) for cell in planned.grid()})
    job.write_down()
    for cell in planned.grid():
        starts = range(0, images, unit_images)[:units]
        for unit in (Unit(cell.name, shard.name, s, min(s + unit_images, images)) for s in starts):
            found = table(cell, unit, images).to_pylist()
            for row in found[max(0, images - failed - unit.start) :]:
                kept = {name: row[name] for name in ("image_key", "shard", "cell", "model", "defense", "k", "attack", "eps")}
                shared = {name: row[name] for name in ("norm", "steps", "eot_draws", "evaluation_draws", "policy", "mode")}
                shared |= {name: row[name] for name in ("device", "seed", "unit", "campaign", "commit", "versions")}
                row.clear()
                row.update(kept | shared | {"status": "bad_image", "error": "truncated", "grad_evals": 0, "seconds": 0.0})
            assert Store(folder).create(Store(folder).results(unit), schema.encode(found, {"identity": cell.identity}))
    return job


def large(folder, total, images):
    """A store of `total` rows in one file a cell of `images`, behind ten barrages: eight kinds of cells, again and again."""
    cells, kinds = math.ceil(total / images), 8
    attacks = {f"pgd{i:03d}": {"eps": f"{1 + i}/255", "steps": 40, "eot_draws": 40} for i in range(math.ceil(cells / 10))}
    parsed = parse(campaign(range(1, 11), attacks) | {"unit_images": images}, "large")
    planned, shard = list(parsed.grid())[:cells], Shard("none/val-000000.tar", "0" * 64, 1, images, (0, CLASSES - 1))
    Job(parsed, {shard.name: shard}, str(folder), {cell.name: Cut(images) for cell in parsed.grid()}).write_down()
    units = [Unit(cell.name, "val-000000", 0, images) for cell in planned]
    of_a_kind = [table(cell, unit, images) for cell, unit in zip(planned[:kinds], units, strict=False)]
    for i, (cell, unit) in enumerate(zip(planned, units, strict=True)):
        assert isinstance(cell.defense, BarrageDefense)
        names = {"cell": cell.name, "defense": cell.defense_name, "k": cell.defense.k, "attack": cell.attack_name}
        names |= {"eps": cell.attack.eps, "unit": unit.name, "campaign": cell.identity}
        found = of_a_kind[i % kinds]
        for name, value in names.items():
            field = schema.SCHEMA.field(name)
            found = found.set_column(schema.SCHEMA.names.index(name), field, pa.repeat(value, images).cast(field.type))
        path = folder / Store(folder).results(unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file, Writer(file, schema.SCHEMA) as writer:
            writer.write(found, 1 << 16)


def sound(folder, images, cells=2, per_shard=1000):
    """A store of rows in which `verify` finds no fault, of small pictures, behind 1 to `cells` transforms. Returns its job."""
    allow(["tests.support.tiny"])
    (folder / "images").mkdir(parents=True)
    files = [folder / f"images/image-{i:08d}.png" for i in range(images)]
    for i, file in enumerate(files):
        file.write_bytes(tiny.picture(i, 32))
    pack([(file, i % per_shard * 37 % CLASSES) for i, file in enumerate(files)], folder / "shards", "photos", per_shard)
    last = math.ceil(images / per_shard) - 1
    model, defenses = {"architecture": "tests.support.tiny:thousand_classes", "classes": CLASSES}, range(1, cells + 1)
    content = tiny.campaign(
        f"{folder}/shards/photos-{{000000..{last:06d}}}.tar",
        models={"net": model},
        defenses={f"bart{k}": {"k": k} for k in defenses},
        cells=[{"model": "net", "defense": [f"bart{k}" for k in defenses], "attack": "pgd"}],
        evaluation_draws=20,
        unit_images=200,
        save_adversarial=False,
    )
    job = prepare(parse(content, "sound"), str(folder / "store")).write_down()
    for unit in job.units():
        cell, count, places = job.cells[unit.cell], job.images[unit.shard], job.places(unit)
        found = table(cell, Unit(unit.cell, unit.shard, 0, count), count).take(places).to_pylist()
        first = int(unit.shard.rpartition("-")[2]) * per_shard
        for row, place in zip(found, places, strict=True):
            row |= {"image_key": files[first + place].stem, "unit": unit.name}
        assert Store(job.store).create(Store(job.store).results(unit), schema.encode(found, {"identity": cell.identity}))
    return job
