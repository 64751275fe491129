"""Say whether the vote and the mean of an image's draws are right: columns of its row that follow from its lists of classes.

A row is written with them, since reading its lists is nearly all of the time that a table takes. For the rows of files that lack
them they are computed while these are read (`pipeline.store.rows`), so every reader meets one kind of row.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.scoring import votes

Right = np.ndarray[Any, np.dtype[np.bool_]]


class Decided(NamedTuple):
    """Describe a column that follows from others: these, and the function of attacked rows with them, which returns (n,) bool."""

    needs: tuple[str, ...]
    right: Callable[[pa.Table], Right]


def share(rows: pa.Table, side: str, top: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the share of draws whose first class, or first five, are right, (n,) in [0, 1]; `top` 1 or 5."""
    return rows[count_of(side, top)].to_numpy() / rows["evaluation_draws"].to_numpy()


def count_of(side: str, top: int) -> str:
    """Return the column that counts the right draws; `side` "clean" or "adv", `top` 1 or 5."""
    return f"{side}_correct" if top == 1 else f"{side}_top5_correct"


def column_of(rule: str, side: str, top: int) -> str:
    """Return the column that says whether "vote" or "mean" is right; `side` "clean" or "adv", `top` 1 or 5."""
    return f"{side}_{rule}_right" if top == 1 else f"{side}_{rule}_top5_right"


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


def _all() -> dict[str, Decided]:
    found = {}
    for side in ("clean", "adv"):
        for top in (1, 5):
            counted = ("status", "label", "evaluation_draws", count_of(side, top), f"{side}_top5")
            found[column_of("vote", side, top)] = Decided(counted, partial(_vote, side=side, top=top))
            listed = ("status", "label", f"{side}_mean_top5")
            found[column_of("mean", side, top)] = Decided(listed, partial(_mean, side=side, top=top))
    return found


DECIDED = _all()
"""The columns that follow from others, by name."""


def column(rows: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    """Return a column of DECIDED, (n,) bool, from those that it needs; null for images that were not attacked or lack lists."""
    needs, right = DECIDED[name]
    lists = needs[-1]
    there = pc.and_(pc.equal(rows["status"], "ok"), pc.is_valid(rows[lists]))
    known = np.asarray(pc.fill_null(there, False).to_numpy(zero_copy_only=False)).astype(bool)
    used = rows.select(list(needs))
    used = pa.Table.from_batches([used]) if isinstance(used, pa.RecordBatch) else used
    if known.all():
        return pa.array(right(used))
    found = np.zeros(len(known), np.bool_)
    found[known] = right(used.filter(pa.array(known)))
    return pa.array(found, mask=~known)


def needed(columns: Iterable[str], there: Iterable[str]) -> list[str]:
    """Return the columns to read where `columns` are wanted of rows that have those `there`: what the missing ones need too."""
    columns, there = list(columns), set(there)
    more = (need for name in columns if name in DECIDED and name not in there for need in DECIDED[name].needs)
    return list(dict.fromkeys([*columns, *more]))
