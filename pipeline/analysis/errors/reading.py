"""Read the attacked rows of a cell, and what its tables need of them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import BadInput
from pipeline.scoring import rules
from pipeline.store.rows import batches

Array = np.ndarray[Any, Any]

LISTS = ("clean_top5", "adv_top5", "adv_mean_top5")
"""The columns of lists that are read; a row where one is null says nothing."""


def attacked(store: str, columns: Sequence[str], cells: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of attacked images, some thousand of one cell at a time. Raises BadInput as `analysis.results` does."""
    for rows in batches(store, list(dict.fromkeys(["status", *columns])), cells):
        good = with_lists(rules.attacked(rows))
        if len(good):
            yield good


def with_lists(rows: pa.Table) -> pa.Table:
    """Return the rows in which none of the columns LISTS that they have is null."""
    for name in LISTS:
        if name in rows.column_names and rows[name].null_count:
            rows = rows.filter(rows[name].is_valid())
    return rows


def of_cells(store: str, columns: Sequence[str], cells: Collection[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """Yield the attacked rows of cells, each with its cell, some thousand of one cell at a time; none of a cell that attacked
    no image. `columns` hold `cell` and `status`. Raises BadInput as `analysis.results` does.
    """
    for rows in batches(store, columns, cells):
        yield str(rows["cell"][0]), rules.attacked(rows)


def labels(rows: pa.Table) -> Array:
    """Return the labels (n,) float64; NaN where a sample has none."""
    return rules.column(rows, "label").astype(np.float64)


def mean_class(rows: pa.Table) -> Array:
    """Return the class of the mean probability under attack, (n,) int64; -1 where a logit was not finite."""
    fives = rows["adv_mean_top5"].combine_chunks().flatten().to_numpy()
    return fives.reshape(-1, 5)[:, 0].astype(np.int64)


def right_draws(rows: pa.Table, side: str, top: int = 1) -> Array:
    """Return whether each draw has the label among its `top` classes, (n, draws) bool. `side` is "clean" or "adv"."""
    fives = rows[f"{side}_top5"].combine_chunks().flatten().flatten().to_numpy()
    return (fives.reshape(len(rows), -1, 5)[:, :, :top] == labels(rows)[:, None, None]).any(2)


def checked(rule: str, top: int) -> None:
    """Raise BadInput for an unknown decision rule, or a `top` that rows do not tell."""
    if rule not in rules.RULES or top not in (1, 5):
        raise BadInput(f"rule {rule!r}, top {top}: expected one of {', '.join(rules.RULES)}, and 1 or 5")
