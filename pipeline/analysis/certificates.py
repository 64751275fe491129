"""Compute the certified accuracy of cells behind Gaussian noise, against the radius."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.analysis.accuracy import CELL
from pipeline.analysis.frames import Stores, results
from pipeline.scoring.intervals import rate

COLUMNS = ("cell", "label", "status", "smoothed_class", "certified_radius")
RADII = 25
"""Radii of a curve, evenly spread from 0 to the largest that a row has."""


def certified(stores: Stores, radii: Sequence[float] | None = None) -> pd.DataFrame:
    """Return the share of images whose certificate names the label, with at least a radius: a line a cell and radius.

    radii  L2 radii, in the unit of images in [0, 1]; default: evenly spread
    Columns: `store`, `cell`, `radius`, `images`, `certified` with `_low` and `_high`, `abstained` (shares).
    No lines for stores without certificates.
    """
    rows = results(stores, list(COLUMNS))
    rows = rows[(rows["status"] == "ok") & rows["smoothed_class"].notna()]
    found = []
    for (store, cell), group in rows.groupby(list(CELL), observed=True):
        reached = np.where(group["smoothed_class"] == group["label"], group["certified_radius"].fillna(-1.0), -1.0)
        chosen = radii if radii is not None else np.linspace(0.0, max(0.0, float(reached.max())), RADII)
        for radius in dict.fromkeys(map(float, chosen)):
            share = rate((reached >= radius).astype(float))
            assert share, "a group has rows"
            found.append(
                (store, cell, radius, len(group), share.value, share.low, share.high, group["certified_radius"].isna().mean())
            )
    names = (*CELL, "radius", "images", "certified", "certified_low", "certified_high", "abstained")
    return pd.DataFrame(found, columns=names)
