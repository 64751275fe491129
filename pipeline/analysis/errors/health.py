"""Say for each cell whether its attack had gradients to follow."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.analysis.errors.reading import Array, of_cells
from pipeline.scoring import rules
from pipeline.scoring.blind import COLUMNS, blind

READ = ("cell", "status", "policy", "gradient_norm", *COLUMNS)
"""The columns that are read."""

NAMES = ("cell", "images", "zero", "nonfinite", "norm_median", "norm_low", "norm_high", "blind")

QUANTILES = (0.5, 0.1, 0.9)
"""Of the norms of a cell: `norm_median`, `norm_low`, `norm_high`."""


@dataclass
class _Cell:
    """Hold the sums of a cell."""

    images: int = 0
    steps: float = 0.0
    zero: float = 0.0
    nonfinite: float = 0.0
    blind: int = 0
    follows: bool = False
    norms: list[Array] = field(default_factory=list)

    def add(self, rows: pa.Table) -> None:
        found = {name: rules.column(rows, name).astype(np.float64) for name in COLUMNS}
        taken = np.where(np.isnan(found["first_break"]), found["steps"], found["first_break"])
        norms = rules.column(rows, "gradient_norm").astype(np.float64)
        self.images += len(rows)
        self.steps += np.nansum(taken)
        self.zero += np.nansum(found["zero_gradients"])
        self.nonfinite += np.nansum(found["nonfinite_gradients"])
        self.blind += int(blind(found).sum())
        self.norms.append(norms[~np.isnan(norms)])
        self.follows |= len(self.norms[-1]) > 0 or bool(set(rows["policy"].unique().to_pylist()) - {"none", None})

    def line(self) -> tuple[float, ...]:
        shares = (self.zero / self.steps, self.nonfinite / self.steps) if self.follows and self.steps else (np.nan,) * 2
        norms = np.concatenate(self.norms) if self.norms else np.empty(0)
        ends = np.quantile(norms, QUANTILES) if len(norms) else np.full(3, np.nan)
        return self.images, *shares, *map(float, ends), self.blind


class Tally:
    """Sum up the gradients of cells, batch by batch."""

    def __init__(self) -> None:
        self._cells = dict[str, _Cell]()

    def add(self, cell: str, rows: pa.Table) -> None:
        """Add attacked rows of one cell with the columns READ; none: the cell has rows, but attacked no image."""
        sums = self._cells.setdefault(cell, _Cell())
        if len(rows):
            sums.add(rows)

    def frame(self) -> pd.DataFrame:
        """Return a line for each cell with the columns NAMES, in the order in which they came."""
        return pd.DataFrame([(name, *sums.line()) for name, sums in self._cells.items()], columns=list(NAMES))


def gradients(store: str, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Return for each cell whether its attack had gradients to follow, over its attacked images.

    Columns: `cell`, `images`; `zero` and `nonfinite`, the shares of steps whose gradient was zero, or held NaN or Inf, in
    [0, 1], NaN for an attack that follows none; `norm_median`, `norm_low`, `norm_high`, the median and the 10 % and 90 %
    quantiles over images of `gradient_norm`, NaN in rows of an earlier release; `blind`, the number of images for which the
    attack was blind. Compare norms between cells of one kind of attack and one loss. Raises BadInput as `analysis.results`
    does.
    """
    tally = Tally()
    for cell, rows in of_cells(store, READ, cells):
        tally.add(cell, rows)
    return tally.frame()
