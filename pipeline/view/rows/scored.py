"""Turn rows of a store into a flat table: one line an image and cell, scored under every decision rule, with class names."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import shortened
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.store.schema import SCHEMA
from pipeline.view.rows.columns import STORED, TOPS, share

LONGEST = 1000
"""Characters of a text that the table keeps; of a longer one its beginning, its end and its hash."""

_TYPES = {"VARCHAR": pa.string(), "INTEGER": pa.int32(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}


def columns(rules: Sequence[str]) -> list[str]:
    """Return the columns of a store's rows that the table, the summaries and the list of machines are made of."""
    kept = [name for name in STORED if name in SCHEMA.names]
    return list(
        dict.fromkeys([*kept, *summaries.columns(rules), "clean_mean_top5", "adv_mean_top5", "commit", "versions", "device"])
    )


def scored(rows: pa.Table, rules: Sequence[str], names: Sequence[str]) -> pa.Table:
    """Return the columns STORED and one column of shares for each side, rule and top, in the order of the rows.

    rows   with the columns of `columns`
    names  of the classes, by label; empty: not known
    Shares are null for images that failed, and so is every number that is not finite.
    """
    classes = {f"{side}_class": _first(rows[f"{side}_mean_top5"]) for side in ("clean", "adv")}
    found: dict[str, Any] = {name: rows[name] for name in STORED if name in rows.column_names} | classes
    labels = {"label": rows["label"], **classes}
    found |= {f"{name}_name": _named(values, names) for name, values in labels.items()}
    out = {name: _column(found.get(name), column.type, len(rows)) for name, column in STORED.items()}
    return pa.table(out | _shares(rows, rules))


def cut(text: str) -> str:
    """Return a text of at most some LONGEST characters; of two long texts that differ anywhere, two that differ."""
    if len(text) <= LONGEST:
        return text
    return f"{shortened(text, LONGEST)} ({len(text):,} characters, {hashlib.sha256(text.encode()).hexdigest()[:16]})"


def _shares(rows: pa.Table, rules: Sequence[str]) -> dict[str, pa.Array]:
    """Return the shares of every side, rule and top by the name of their column."""
    good = pc.equal(rows["status"], "ok").to_numpy(zero_copy_only=False).astype(bool)
    attacked, out = rows if good.all() else rows.filter(pa.array(good)), {}
    for rule in rules:
        for side in ("clean", "adv"):
            for top in TOPS:
                shares = np.full(len(rows), np.nan)
                shares[good] = RULES[rule].score(attacked, side, top)
                out[share(side, rule, top)] = pa.array(shares, from_pandas=True)
    return out


def _first(lists: Any) -> Any:
    """Return the first of five classes; null where there is none."""
    first = pc.list_element(lists, 0)
    return pc.if_else(pc.greater_equal(first, 0), first, None)


def _named(labels: Any, names: Sequence[str]) -> Any:
    """Return the names of some classes; null where the name is not known."""
    known = pc.and_(pc.greater_equal(labels, 0), pc.less(labels, len(names)))
    return pa.array(names, pa.string()).take(pc.if_else(known, labels, None).cast(pa.int64()))


def _column(values: Any, type: str, count: int) -> Any:
    """Return a column as a database takes it: in its type, long texts cut, and null for a number that is not finite."""
    kind = _TYPES[type]
    if values is None:
        return pa.nulls(count, kind)
    if pa.types.is_string(kind):
        return pa.chunked_array([_texts(chunk) for chunk in _chunks(values)], pa.string())
    return pc.if_else(pc.is_finite(values), values, None).cast(kind) if pa.types.is_floating(kind) else values.cast(kind)


def _chunks(values: Any) -> list[pa.Array]:
    return values.chunks if isinstance(values, pa.ChunkedArray) else [values]


def _texts(values: pa.Array) -> pa.Array:
    """Return texts of which none is long."""
    words = values.dictionary if pa.types.is_dictionary(values.type) else values
    longest = pc.max(pc.utf8_length(words)).as_py() or 0
    if longest > LONGEST:
        words = pa.array([None if text is None else cut(text) for text in words.to_pylist()], pa.string())
    return words.take(values.indices) if pa.types.is_dictionary(values.type) else words
