"""Read what a comparison needs of one cell, in some 80 bytes an image: a million images take no more than their names do."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.analysis.comparison.sides import Side
from pipeline.analysis.images import named
from pipeline.campaigns.job import Job
from pipeline.config.campaign import Cell
from pipeline.scoring import rules
from pipeline.scoring.summaries import Scope
from pipeline.store import committed, mixing
from pipeline.store.layout import Store
from pipeline.store.mixing import Origins
from pipeline.store.rows import batches

VALUES = ("adv", "clean", "target_hit")
"""Shares of an image, in [0, 1], the attacked one first; `target_hit` is NaN without a target."""

COSTS = {"draw_gradients": "grad_evals", "forwards": "forward_evals", "seconds": "seconds"}
"""What an image cost, and the column of the rows that says so; seconds are those of a device."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Hold the attacked images of one cell.

    side     the store and the cell
    job      the campaign that the store was made by
    names    (images,) text, `shard/key` of each image: no shard has a slash in its name
    values   (images,) one line an image: `label`, VALUES, and the costs of COSTS
    failed   the number of images that could not be attacked
    origins  how many rows each commit, environment and device made
    """

    side: Side
    job: Job
    names: Any
    values: pd.DataFrame
    failed: int
    origins: Origins

    @property
    def cell(self) -> Cell:
        """Return the settings of the cell."""
        return self.job.cells[str(self.side.cell)]

    @cached_property
    def scope(self) -> Scope:
        """Return how many images the campaign has, and whether a stop rule ended the cell."""
        return self.job.scopes()[self.cell.name]


def with_rows(job: Job) -> list[str]:
    """Return the cells of a store that have rows, in the order of its campaign. Raises BadInput for rows of another one."""
    there = committed.files(Store(job.store))[1]
    return [name for name in job.cells if name in there]


def read(job: Job, cell: str, rule: str, top: int) -> Measured:
    """Read a cell under a decision rule; `top` 1 or 5 classes. Raises BadInput as `pipeline.store.rows.batches` does."""
    wanted = ("shard", "image_key", "label", "evaluation_draws", "target_hits", *COSTS.values())
    columns = list(dict.fromkeys([*wanted, *rules.columns([rule])]))
    names, values, failed, origins = list[pa.Array](), list[pd.DataFrame](), 0, Counter[mixing.Origin]()
    for rows in batches(job.store, [*columns, *mixing.COLUMNS], [cell]):
        origins += mixing.counted(rows)
        good = rules.attacked(rows)
        failed += len(rows) - len(good)
        names += named(good).chunks
        values.append(_values(good, rule, top))
    every = pa.chunked_array(names, pa.string()).combine_chunks()
    pa.default_memory_pool().release_unused()  # what reading took: a fifth of a gigabyte for a million images
    return Measured(Side(job.store, cell), job, every, pd.concat(values, ignore_index=True), failed, origins)


def _values(rows: pa.Table, rule: str, top: int) -> pd.DataFrame:
    """Return the line of each image of attacked rows."""
    shares = {side: rules.RULES[rule].score(rows, side, top) for side in ("clean", "adv")}
    shares["target_hit"] = rules.column(rows, "target_hits") / rules.column(rows, "evaluation_draws")
    costs = {name: rules.column(rows, column).astype(np.float64) for name, column in COSTS.items()}
    return pd.DataFrame({"label": rules.column(rows, "label").astype(np.int32), **shares, **costs})
