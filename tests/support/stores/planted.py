"""Stores of a few images whose every draw is planned: cells `resnet50-bart2-<attack>`, one for each attack."""

from pipeline.campaigns.attempt.image_rows import cell_columns
from pipeline.campaigns.job import Job
from pipeline.config.campaign import parse
from pipeline.data.shards import Shard
from pipeline.planning.units import Cut, Unit
from pipeline.store import schema
from pipeline.store.layout import Store
from tests.support.stores import synthetic

DRAWS = 4
PGD = {"eps": "8/255", "steps": 40, "eot_draws": 4}


def store(
    folder, rights, labels=None, keys=None, shard="none/val-000000.tar", sha256="0" * 64, attacks=None, seconds=1.0, **changes
):
    """Writes a store and returns it as text.

    rights   {attack: the right draws of each image, clean and attacked, as pairs; None for an image that failed}
    labels   of each image; default: 0, 1, ...
    keys     of each image; default: i0, i1, ...
    attacks  {attack: its settings}; default: PGD for each
    changes  of the campaign
    """
    images = len(next(iter(rights.values())))
    content = synthetic.campaign([2], attacks or dict.fromkeys(rights, PGD), evaluation_draws=DRAWS) | changes
    parsed, described = parse(content, "planted"), Shard(shard, sha256, 1, images, (0, 999))
    cuts = {cell.name: Cut(images) for cell in parsed.grid()}
    job = Job(parsed, {described.name: described}, str(folder), cuts)
    job.write_down()
    for cell in parsed.grid():
        unit = Unit(cell.name, described.name, 0, images)
        found = [
            row(cell, unit, i, rights[cell.attack_name][i], labels[i] if labels else i, keys[i] if keys else f"i{i}", seconds)
            for i in range(images)
        ]
        assert Store(folder).create(Store(folder).results(unit), schema.encode(found, {}))
    return str(folder)


def row(cell, unit, place, right, label, key, seconds):
    """One row; `right` is a pair of counts, or None."""
    shared = cell_columns(cell) | {"shard": unit.shard, "unit": unit.name, "image_key": key, "label": label, "device": "cpu"}
    shared |= {"commit": "a" * 40, "versions": "{}", "grad_evals": 100 + place, "forward_evals": 8, "seconds": seconds}
    if right is None:
        return shared | {"status": "bad_image", "error": "truncated", "grad_evals": 0}
    out = shared | {"status": "ok", "linf": 0.03, "l2": 1.0, "zero_gradients": 0, "nonfinite_gradients": 0}
    for side, count in zip(("clean", "adv"), right, strict=True):
        fives = [five(label, draw < count) for draw in range(cell.judged_by)]
        out |= {f"{side}_top5": fives, f"{side}_mean_top5": five(label, 2 * count > cell.judged_by)}
        out |= {f"{side}_correct": count, f"{side}_top5_correct": count}
    if cell.attack.goal != "untargeted":
        out |= {"target": label + 1, "target_hits": cell.judged_by - right[1]}
    return out


def five(label, right):
    """Five classes, the label first or not there; the first wrong one is label + 1."""
    return [label + i for i in range(5)] if right else [label + 1 + i for i in range(5)]
