"""Find the rows that are alike in some columns: what rules say of one of them they say of all, so they are asked once.

Counts of draws and truth values have few combinations: ten million rows of 20 draws have hundreds.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]

DENSE = 16
"""Combinations of values, for each row, that are counted in a table of all; more are sorted."""


def alike(rows: pa.Table) -> tuple[pa.Table, Array]:
    """Return the distinct rows of a table, and how many rows are like each, (n,).

    Only columns of whole numbers, true and false are left, those without nulls; none if they say too much for one number.
    """
    columns = {name: found for name in rows.column_names if (found := _whole_numbers(rows[name])) is not None}
    lows = [int(values.min()) for values in columns.values() if len(values)]
    spans = [int(values.max()) - low + 1 for values, low in zip(columns.values(), lows, strict=False)]
    most = math.prod(spans)
    if not spans or most >= 1 << 62:
        return rows.select([]), np.zeros(0, np.int64)
    few = most <= DENSE * len(rows)
    codes = _codes(list(columns.values()), lows, spans, np.int32 if few else np.int64)
    there, counts = _counted(codes, most) if few else np.unique(codes, return_counts=True)
    parts = zip(columns, np.unravel_index(there, spans), lows, strict=True)
    types = {name: rows.schema.field(name).type.to_pandas_dtype() for name in columns}
    return pa.table({name: (part + low).astype(types[name]) for name, part, low in parts}), counts


def _codes(columns: Sequence[Array], lows: Sequence[int], spans: Sequence[int], kind: type) -> Array:
    """Return each row as one number of at least the type `kind`: its digits are its values above `lows`, in bases `spans`."""
    codes: Array = np.zeros(len(columns[0]), np.result_type(kind, *(values.dtype for values in columns)))
    for values, low, span in zip(columns, lows, spans, strict=True):
        if span > 1:  # in place: a new array of this size costs more than the sum
            codes *= span
            codes += values
            codes -= low
    return codes


def _counted(codes: Array, most: int) -> tuple[Array, Array]:
    """Return the distinct codes, ascending in [0, most), and how often each occurs."""
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
