"""A sample of a store's verdicts, judged again: the same draws on the same pictures must say the same."""

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
from pipeline.campaigns.image_rows import Picture
from pipeline.campaigns.worker import Worker, image_keys
from pipeline.config.campaign import Cell
from pipeline.planning.units import Unit

TOLERATED = 0.2
"""Draws of an image whose first class may be another one, as a share, where device or libraries are not those that judged it:
they round otherwise, which near a tie, or at a step of a transform, is another class."""


def chosen(units: Sequence[Unit], images: int, seed: int) -> dict[str, list[int]]:
    """So many images, by the name of their unit and their place in it: from every cell alike, by chance, each time the same."""
    cells: dict[str, list[Unit]] = {}
    for unit in units:
        cells.setdefault(unit.cell, []).append(unit)
    dice, found = random.Random(seed), dict[str, list[int]]()
    for turn, of in enumerate(cells.values()):
        ends = list(accumulate(unit.images for unit in of))
        share = (images + len(cells) - 1 - turn) // len(cells)
        for place in sorted(dice.sample(range(ends[-1]), min(share, ends[-1]))):
            which = bisect_right(ends, place)
            found.setdefault(of[which].name, []).append(place - ends[which] + of[which].images)
    return found


def disagreements(
    worker: Worker, cell: Cell, rows: Sequence[dict[str, Any]], clean: Sequence[Picture], stored: Sequence[Picture] | None
) -> Iterator[tuple[str, str]]:
    """(image key, what differs) for rows of attacked images whose pictures (3, h, w) uint8 are judged otherwise now.

    Where device and libraries are those of the row, every list of five classes must be the same; else the first class of all
    but `TOLERATED` of the draws.
    """
    keys = image_keys(cell, [row["image_key"] for row in rows], worker.device)
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
