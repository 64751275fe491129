"""Say whether the vote and the mean of an image's draws are right: columns of its row that follow from its lists of classes.

A row is written with them, since reading its lists is nearly all of the time that a table takes. For the rows of files that
lack them they are computed while these are read (`pipeline.store.rows`), so every reader meets one kind of row.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.scoring import votes

Right = np.ndarray[Any, np.dtype[np.bool_]]

BITS = {("vote", 1): 1, ("vote", 5): 2, ("mean", 1): 4, ("mean", 5): 8}
"""{(rule, top): its bit in a column}. Two columns of bits are read five times as fast as eight of true and false."""

DECIDED = {
    f"{side}_right": (
        "status", "label", "evaluation_draws", f"{side}_correct", f"{side}_top5_correct", f"{side}_mean_top5", f"{side}_top5",
    )
    for side in ("clean", "adv")
}  # fmt: skip
"""{a column that follows from others: those}."""


def says(rows: pa.Table, rule: str, side: str, top: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return 1 where the row says that the rule "vote" or "mean" is right, else 0, (n,); arguments as of `share`."""
    bits = rows[f"{side}_right"].to_numpy()
    if bits.dtype.kind == "f":  # with nulls
        return np.where(np.isnan(bits), np.nan, np.nan_to_num(bits).astype(np.int32) & BITS[rule, top] > 0)
    return (bits & BITS[rule, top] > 0).astype(np.float64)


def share(rows: pa.Table, side: str, top: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the share of draws whose first class, or first five, are right, (n,) in [0, 1]; `top` 1 or 5."""
    right = rows[f"{side}_correct" if top == 1 else f"{side}_top5_correct"]
    return right.to_numpy() / rows["evaluation_draws"].to_numpy()


def first_classes(rows: pa.Table, side: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the first class of each draw of attacked rows, (n, draws); the rows have the same number of draws."""
    return _fives(_whole(rows, f"{side}_top5").flatten())[:, 0].reshape(len(rows), -1)


def _mean(rows: pa.Table, side: str, top: int) -> Right:
    """Return whether the label is among the `top` classes of the mean probability over draws, (n,)."""
    classes = _fives(_whole(rows, f"{side}_mean_top5"))[:, :top]
    return (classes == rows["label"].to_numpy()[:, None]).any(1)


def _vote(rows: pa.Table, side: str, top: int) -> Right:
    """Return whether the label is among the `top` classes with the most votes, (n,).

    Each draw votes for its own first `top` classes. Ties go to the class that draws rank higher, then to the one met first.
    """
    right = share(rows, side, top)
    won = right > top / (top + 1)  # no `top` others can have as many votes
    open_ = np.flatnonzero((right > 0) & ~won)
    if len(open_):
        lists = _whole(rows, f"{side}_top5")
        draws, label = rows["evaluation_draws"].to_numpy()[open_], rows["label"].to_numpy()[open_]
        won[open_] = votes.elected(_fives(lists.values), lists.offsets.to_numpy()[open_], draws, label, top)
    return won


def _whole(rows: pa.Table, name: str) -> Any:
    """Return a column as one array. A column of one chunk is not copied."""
    found = rows[name]
    return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()


def _fives(lists: pa.FixedSizeListArray) -> np.ndarray[Any, Any]:
    """Return lists of five classes as an array (n, 5)."""
    return lists.flatten().to_numpy().reshape(-1, 5)


_RULES = {"vote": _vote, "mean": _mean}


def column(rows: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    """Return a column of DECIDED, (n,) int32, from what it follows from; null for images that were not attacked."""
    needs, side = list(DECIDED[name]), name.removesuffix("_right")
    lists = pc.and_(*(pc.is_valid(rows[need]) for need in needs[-2:]))
    there = pc.fill_null(pc.and_(pc.equal(rows["status"], "ok"), lists), False)
    known = np.asarray(there.to_numpy(zero_copy_only=False)).astype(bool)
    used = pa.Table.from_batches([rows.select(needs)]) if isinstance(rows, pa.RecordBatch) else rows.select(needs)
    used = used if known.all() else used.filter(pa.array(known))
    bits = np.zeros(len(known), np.int32)
    bits[known] = sum(bit * _RULES[rule](used, side, top) for (rule, top), bit in BITS.items())
    return pa.array(bits, mask=~known)


def needed(columns: Iterable[str], there: Iterable[str]) -> list[str]:
    """Return the columns to read where `columns` are wanted of rows that have those `there`: what the missing ones need too."""
    columns, there = list(columns), set(there)
    more = (need for name in columns if name in DECIDED and name not in there for need in DECIDED[name])
    return list(dict.fromkeys([*columns, *more]))
