"""Judge a sample of a store's verdicts again: the same draws of the same images must give the same classes."""

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from bart import judge
from pipeline import provenance
from pipeline.campaigns import image_keys
from pipeline.campaigns.attempt.image_rows import Picture
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import Cell
from pipeline.planning.units import Unit

TOLERATED = 0.2
"""Share of an image's draws whose first class may differ on another device or with other libraries. They round in another way:
near a tie, or at a discontinuity of a transform, that gives another class."""


def chosen(units: Sequence[Unit], images: int, seed: int) -> dict[str, list[int]]:
    """Choose `images` images at random, equally from every cell; the same seed chooses the same ones.

    Returns positions in the unit, by the unit's name.
    """
    cells: dict[str, list[Unit]] = {}
    for unit in units:
        cells.setdefault(unit.cell, []).append(unit)
    generator, positions = random.Random(seed), dict[str, list[int]]()
    for number, cell_units in enumerate(cells.values()):
        ends = list(accumulate(unit.images for unit in cell_units))
        share = (images + len(cells) - 1 - number) // len(cells)
        for position in sorted(generator.sample(range(ends[-1]), min(share, ends[-1]))):
            unit = cell_units[index := bisect_right(ends, position)]
            positions.setdefault(unit.name, []).append(position - ends[index] + unit.images)
    return positions


def disagreements(
    worker: Worker, cell: Cell, rows: Sequence[dict[str, Any]], clean: Sequence[Picture], stored: Sequence[Picture] | None
) -> Iterator[tuple[str, str]]:
    """Yield (image key, what differs) for each row of an attacked image whose images are judged in another way now.

    `clean` and `stored` hold the image and its adversarial example for each row, (3, h, w) uint8; `stored` is None if none are
    kept. Where device and libraries are those of the row, every list of five classes must be the same; elsewhere the first
    class, for all but the share `TOLERATED` of the draws.
    """
    keys = image_keys.to_judge(cell, [(row["shard"], row["image_key"]) for row in rows], worker.device)
    here = provenance.device_name(worker.device), provenance.versions()
    for side, pictures in (("clean", clean), ("adv", stored)):
        if pictures is None:
            continue
        images = torch.from_numpy(np.stack(pictures)).to(worker.device)
        verdict = worker.fitting(cell, partial(judge, worker.defended(cell), images, keys, cell.judged_by))
        for row, five in zip(rows, verdict.top5.cpu().numpy(), strict=True):
            differ = five != np.array(row[f"{side}_top5"])
            if (row["device"], row["versions"]) == here:
                count, allowed, what = int(differ.any(1).sum()), 0, "another list"
            else:
                count, allowed, what = int(differ[:, 0].sum()), int(TOLERATED * cell.judged_by), "another first class"
            if count > allowed:
                yield row["image_key"], f"judged again, {count} of {cell.judged_by} draws of {side}_top5 give {what}"
