"""Write stores whose rows are given column by column: with planted errors, or hostile."""

import numpy as np

from pipeline.campaigns.job import Job
from pipeline.config.campaign import parse
from pipeline.data.shards import Shard
from pipeline.planning.units import Cut, Unit
from pipeline.store import schema
from pipeline.store.layout import Store
from tests.support.stores import synthetic

SHARD = "val-000000"


def keys(images):
    return [f"image-{i:08d}" for i in range(images)]


def planned(folder, images, ks=(2,), attacks=None, **changes):
    """Return a job with one unit of so many images for each cell, and no rows."""
    attacks = attacks or {"pgd": {"eps": "8/255", "steps": 10, "eot_draws": 4}}
    campaign = parse(synthetic.campaign(ks, attacks, **changes) | {"unit_images": images}, "planted")
    shard = Shard("none/val-000000.tar", "0" * 64, 1, images, (0, synthetic.CLASSES - 1))
    job = Job(campaign, {SHARD: shard}, str(folder), {cell.name: Cut(images) for cell in campaign.grid()})
    job.write_down()
    return job


def commit(job, cell, **columns):
    """Write the rows of a cell: whole columns (n,) by name, a list or one value; without a status all are ok."""
    images = next(iter(job.shards.values())).images
    unit, made = Unit(cell, SHARD, 0, images), job.cells[cell]
    draws = made.judged_by
    shared = {"image_key": keys(images), "shard": SHARD, "cell": cell, "model": made.model_name, "defense": made.defense_name,
              "k": made.defense.k, "attack": made.attack_name, "policy": made.attack.gradient, "steps": made.built.steps,
              "evaluation_draws": draws, "status": "ok", "unit": unit.name, "campaign": made.identity, "grad_evals": 1,
              "seconds": 1.0}  # fmt: skip
    found = shared | columns
    whole = {name: list(value) if isinstance(value, list | np.ndarray) else [value] * images for name, value in found.items()}
    rows = [{name: np.asarray(values[i]).tolist() for name, values in whole.items()} for i in range(images)]
    assert Store(job.store).create(Store(job.store).results(unit), schema.encode(rows, {"identity": made.identity}))


def verdicts(side, label, said):
    """Return the columns of a side: `label` (n,), and `said` (n, draws), the first class of each draw, of draw 0 the mean's."""
    said, label = np.asarray(said), np.asarray(label)
    right = (said == label[:, None]).sum(1)
    fives = [[[int(c), -1, -1, -1, -1] for c in row] for row in said]
    return {f"{side}_top5": fives, f"{side}_mean_top5": [row[0] for row in fives], f"{side}_correct": right.tolist(),
            f"{side}_top5_correct": right.tolist()}  # fmt: skip
