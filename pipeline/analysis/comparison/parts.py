"""Compare two cells part by part: the draws that have a transform, or another part of a random defense."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.analysis.comparison.details import corrected, figures
from pipeline.analysis.comparison.measured import Measured
from pipeline.analysis.comparison.same_images import Pairs
from pipeline.analysis.errors.draw_parts import met
from pipeline.analysis.images import named, places
from pipeline.campaigns import definition_versions
from pipeline.scoring import decided, rules
from pipeline.store.rows import batches

Counts = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]


def parts(first: Measured, second: Measured, pairs: Pairs) -> pd.DataFrame:
    """Return the attacked accuracies of the draws that have each part which both defenses may have, by the first class.

    An image counts where both cells have draws of it with the part. The parts of a draw are drawn again from its key, so there
    are no lines for a defense whose definitions have another version now, nor for one that is not random.
    Columns: `part`, and those of `classes` from `images` on; the least likely difference first.
    """
    sides = [_choices(side) for side in (first, second)]
    common = [part for part in sides[0] if part in sides[1]]
    if not common:
        return corrected([], ["part"], "part")
    drawn, right = zip(*(_counts(side, pairs, common) for side in (first, second)), strict=True)
    rows = []
    for place, part in enumerate(common):
        both = (drawn[0][:, place] > 0) & (drawn[1][:, place] > 0)
        if both.any():
            shares = [right[side][both, place] / drawn[side][both, place] for side in (0, 1)]
            rows.append({"part": part} | figures(*shares))
    return corrected(rows, ["part"], "part")


def _choices(side: Measured) -> tuple[str, ...]:
    """Return the parts that the draws of a cell may have; none where they cannot be made again."""
    if not side.cell.defense.random or side.cell.name in definition_versions.outdated(side.job.campaign, side.job.store):
        return ()
    return tuple(side.cell.defense.build().choices)


def _counts(side: Measured, pairs: Pairs, wanted: list[str]) -> tuple[Counts, Counts]:
    """Return how many draws of each image have each part, and how many of these are right: two arrays (images, parts)."""
    columns, cell = [_choices(side).index(part) for part in wanted], side.cell
    shape, kind = (len(pairs), len(wanted)), np.min_scalar_type(cell.judged_by)
    drawn, right = np.zeros(shape, kind), np.zeros(shape, kind)
    for rows in batches(side.job.store, ["shard", "image_key", "label", "status", "adv_top5"], [cell.name]):
        if not len(good := rules.attacked(rows)):
            continue
        has = met(cell, good)[:, :, columns]
        hit = decided.first_classes(good, "adv") == rules.column(good, "label")[:, None]
        place = places(pairs.names, named(good).combine_chunks())
        known = place >= 0
        drawn[known], right[known] = has.sum(1)[place[known]], (has & hit[:, :, None]).sum(1)[place[known]]
    pa.default_memory_pool().release_unused()
    return drawn, right
