"""Follow the accuracy of a cell as its units were committed: after each of some moments the rate so far, with its interval."""

from collections.abc import Mapping

import numpy as np

from pipeline.scoring.intervals import Sample
from pipeline.view.rows.columns import quoted, share
from pipeline.view.rows.database import Database

POINTS = 60
"""The most moments of a cell."""

RULE, TOP = "single", 1
"""What is followed: the share of right draws, attacked."""


def history(database: Database, cell: str, times: Mapping[str, float]) -> list[list[float]]:
    """Return [images, accuracy, low, high] after each moment, in [0, 1], in the order of commits.

    times  when each unit of the cell was committed
    """
    column = quoted(share("adv", RULE, TOP))
    asked = f"SELECT unit, {column} AS share, count(*) AS images FROM rows WHERE cell = ? AND status = 'ok' GROUP BY ALL"
    found = database.table(asked, [cell]).drop_null()
    order = {unit: place for place, unit in enumerate(sorted(times, key=lambda unit: (times[unit], unit)))}
    if not len(found) or not order:
        return []
    shares, kind = np.unique(found["share"].to_numpy(), return_inverse=True)
    place = np.array([order.get(unit, len(order) - 1) for unit in found["unit"].to_pylist()])
    moment = place * min(POINTS, len(order)) // len(order)  # units that share a moment
    counts = np.zeros((moment.max() + 1, len(shares)))
    np.add.at(counts, (moment, kind), found["images"].to_numpy())
    out = list[list[float]]()
    for so_far in counts.cumsum(0):
        there = so_far > 0
        rate = Sample(shares[there], so_far[there]).rate
        if rate and (not out or out[-1][0] != rate.images):
            out.append([rate.images, rate.value, rate.low, rate.high])
    return out
