"""Compute accuracy under attack against how sure the model was of the clean image."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.analysis.errors.reading import attacked, checked
from pipeline.scoring import rules
from pipeline.scoring.intervals import Sample

EDGES = np.arange(-10, 11) / 10
"""The ends of the bins of margins: a bin holds its lower end, the last one both."""

NAMES = ("low", "high", "images", "adv", "adv_low", "adv_high")


def columns(rule: str) -> list[str]:
    """Return the columns that are read."""
    return ["clean_margin", *(name.format("adv") for name in rules.RULES[rule].columns)]


class Tally:
    """Sum up the shares of images by their margin, batch by batch."""

    def __init__(self, rule: str, top: int) -> None:
        self.rule, self.top = rule, top
        self.samples: Mapping[int, Sample] = {}

    def add(self, rows: pa.Table) -> None:
        """Add attacked rows; those whose margin is null, of an earlier release or without a label, are left out."""
        margin, share = (
            rules.column(rows, "clean_margin").astype(np.float64),
            rules.RULES[self.rule].score(rows, "adv", self.top),
        )
        known = ~np.isnan(margin) & ~np.isnan(share)
        margin, share = margin[known], share[known]
        place = np.clip(np.searchsorted(EDGES, margin, side="right") - 1, 0, len(EDGES) - 2)
        found = dict(self.samples)
        for one in np.unique(place).tolist():
            new = Sample.of(share[place == one])
            found[one] = found[one] + new if one in found else new
        self.samples = found

    def frame(self) -> pd.DataFrame:
        """Return a line for each bin that holds images, with the columns NAMES."""
        rates = ((one, self.samples[one].rate) for one in sorted(self.samples))
        lines = [(EDGES[i], EDGES[i + 1], r.images, r.value, r.low, r.high) for i, r in rates if r]
        return pd.DataFrame(lines, columns=list(NAMES))


def margins(store: str, cell: str, rule: str = "single", top: int = 1) -> pd.DataFrame:
    """Return the accuracy under attack of the images of a cell by their `clean_margin`, a line for each bin with images.

    Columns: `low` and `high`, the ends of the bin in [-1, 1]; `images`; `adv` in [0, 1] with the ends of its 95 % interval over
    images, `adv_low` and `adv_high`. No lines where rows are of an earlier release. Raises BadInput for an unknown rule, and
    for a cell that the store lacks.
    """
    checked(rule, top)
    tally = Tally(rule, top)
    for rows in attacked(store, columns(rule), [cell]):
        tally.add(rows)
    return tally.frame()
