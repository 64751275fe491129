"""Score each image under every decision rule, in [0, 1]: whole columns of rows at once, one number an image."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barrage_plugins import Registry
from pipeline.scoring import votes

Shares = np.ndarray[Any, np.dtype[np.float64]]


class Rule(NamedTuple):
    """Describe a decision rule.

    score(rows, side, top)  shares (n,) of attacked rows, `side` "clean" or "adv", `top` 1 or 5: whether the label is among
                            the first `top` classes
    columns                 the columns that it reads, with `{}` for the side
    about                   one sentence for the report's page
    version                 of its definition, from 1
    """

    score: Callable[[pa.Table, str, int], Shares]
    columns: tuple[str, ...]
    about: str = ""
    version: int = 1


def attacked(rows: pa.Table) -> pa.Table:
    """Return the rows of images that were attacked. The row of an image that could not be attacked holds only the reason."""
    good = pc.equal(rows["status"], "ok")
    return rows if pc.all(good, min_count=0).as_py() else rows.filter(good)  # copying lists takes long


def failed(rows: pa.Table) -> pa.Table:
    """Return the rows of images that could not be attacked."""
    return rows.filter(pc.not_equal(rows["status"], "ok"))


def column(rows: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """Return a column of numbers (n,); nulls become NaN."""
    return rows[name].to_numpy()


def single(rows: pa.Table, side: str, top: int) -> Shares:
    """Return the share of draws that are right, the expected accuracy of one draw, (n,) in [0, 1]."""
    right = column(rows, f"{side}_correct" if top == 1 else f"{side}_top5_correct")
    return right / column(rows, "evaluation_draws")


def persistent(rows: pa.Table, side: str, top: int) -> Shares:
    """Return 1 where every draw is right, else 0, (n,): an attacker who may ask again needs only one wrong draw."""
    return (single(rows, side, top) == 1).astype(np.float64)


def mean(rows: pa.Table, side: str, top: int) -> Shares:
    """Return 1 where the label is among the `top` classes of the mean probability over draws, else 0, (n,)."""
    classes = _fives(_whole(rows, f"{side}_mean_top5"))[:, :top]
    return (classes == column(rows, "label")[:, None]).any(1).astype(np.float64)


def vote(rows: pa.Table, side: str, top: int) -> Shares:
    """Return 1 where the label is among the `top` classes with the most votes, else 0, (n,).

    Each draw votes for its own first `top` classes. Ties go to the class that draws rank higher, then to the one met first.
    """
    right = single(rows, side, top)
    won = np.where(right > top / (top + 1), 1.0, 0.0)  # no `top` others can have as many votes
    open_ = np.flatnonzero((right > 0) & (won == 0))
    if len(open_):
        lists = _whole(rows, f"{side}_top5")
        draws, label = column(rows, "evaluation_draws")[open_], column(rows, "label")[open_]
        won[open_] = votes.elected(_fives(lists.values), lists.offsets.to_numpy()[open_], draws, label, top)
    return won


def first_classes(rows: pa.Table, side: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the first class of each draw of attacked rows, (n, draws); the rows have the same number of draws."""
    return _fives(_whole(rows, f"{side}_top5").flatten())[:, 0].reshape(len(rows), -1)


def _whole(rows: pa.Table, name: str) -> Any:
    """Return a column as one array. A column of one chunk is not copied."""
    found = rows[name]
    return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()


def _fives(lists: pa.FixedSizeListArray) -> np.ndarray[Any, Any]:
    """Return lists of five classes as an array (n, 5)."""
    return lists.flatten().to_numpy().reshape(-1, 5)


_COUNTS = ("evaluation_draws", "{}_correct", "{}_top5_correct")

RULES: Registry[Rule] = Registry(
    "decision rule",
    "rules",
    builtin={
        "single": Rule(single, _COUNTS, "What one fresh draw is expected to say."),
        "vote": Rule(vote, (*_COUNTS, "label", "{}_top5"), "The class that most draws say."),
        "mean": Rule(mean, ("label", "{}_mean_top5"), "The class with the highest mean probability over the draws."),
        "persistent": Rule(persistent, _COUNTS, "Right only if every draw is: the attacker may ask again."),
    },
    expected="a pipeline.scoring.rules.Rule",
    accepts=lambda name, thing: isinstance(thing, Rule),
)
"""The decision rules by name, with those of other packages (`barrage.rules`)."""


def columns(rules: Iterable[str]) -> list[str]:
    """Return the columns that rules read, with the status."""
    needed = (text.format(side) for rule in rules for text in RULES[rule].columns for side in ("clean", "adv"))
    return list(dict.fromkeys(["status", *needed]))


def of_row(row: Mapping[str, Any], rule: str, side: str, top: int) -> float:
    """Return one row's share under a rule; the row holds the columns that the rule reads."""
    needed = {text.format(side) for text in RULES[rule].columns}
    return float(RULES[rule].score(pa.Table.from_pylist([{name: row[name] for name in needed if name in row}]), side, top)[0])
