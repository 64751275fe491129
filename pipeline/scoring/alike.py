"""Find the rows that are alike in some columns: what a rule says of one of them it says of all, so it is asked once.

Counts of draws and truth values have few combinations: ten million rows of 20 draws have hundreds.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]

DENSE = 1 << 16
"""Combinations of values that are counted in a table of all; more are sorted."""


def alike(rows: pa.Table) -> tuple[pa.Table, Array | None]:
    """Return the distinct rows of a table, and how many rows are like each, (n,).

    The rows themselves and None, which is one each, where a column is neither a whole number nor true or false, or has nulls.
    """
    columns = [found for column in rows.columns if (found := _whole_numbers(column)) is not None]
    if not len(rows) or not columns or len(columns) < rows.num_columns:
        return rows, None
    lows = [int(values.min()) for values in columns]
    spans = [int(values.max()) - low + 1 for values, low in zip(columns, lows, strict=True)]
    most = math.prod(spans)
    if most >= 1 << 62:
        return rows, None
    kind = np.int64 if most > DENSE else np.int32
    codes: Array = np.zeros(len(rows), kind)
    for values, low, span in zip(columns, lows, spans, strict=True):
        if span > 1:
            above = values.astype(kind) - low if most > DENSE else (values - low).astype(kind, copy=False)
            codes = codes * span + above
    there, counts = _counted(codes, most)
    parts = np.unravel_index(there, spans)
    kinds = zip(rows.schema, parts, lows, strict=True)
    return pa.table({field.name: pa.array(part + low).cast(field.type) for field, part, low in kinds}), counts


def _counted(codes: Array, most: int) -> tuple[Array, Array]:
    """Return the distinct codes, ascending in [0, most), and how often each occurs."""
    if most > DENSE:
        return np.unique(codes, return_counts=True)
    counts = np.bincount(codes, minlength=most)
    there = np.flatnonzero(counts)
    return there, counts[there]


def _whole_numbers(column: pa.ChunkedArray) -> Array | None:
    """Return a column as whole numbers, (n,), false as 0; None for one of another type or with nulls."""
    if column.null_count:
        return None
    if pa.types.is_boolean(column.type):
        return column.cast(pa.uint8()).to_numpy()
    return column.to_numpy() if pa.types.is_integer(column.type) else None
