"""How right each image is under every decision rule, in [0, 1]: whole columns of rows at once, one number an image."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Shares = np.ndarray[Any, np.dtype[np.float64]]


class Rule(NamedTuple):
    """A decision rule.

    score(rows, side, top)  shares (n,) of attacked rows, `side` "clean" or "adv", `top` 1 or 5: whether the label is among
                            the first `top` classes
    columns                 what it reads, `{}` standing for the side
    """

    score: Callable[[pa.Table, str, int], Shares]
    columns: tuple[str, ...]


def attacked(rows: pa.Table) -> pa.Table:
    """The rows of images that were attacked: those of a failed image hold only its reason."""
    return rows.filter(pc.equal(rows["status"], "ok"))


def failed(rows: pa.Table) -> pa.Table:
    """The rows of images that could not be attacked."""
    return rows.filter(pc.not_equal(rows["status"], "ok"))


def column(rows: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """A column of numbers (n,); nulls become NaN."""
    return rows[name].to_numpy()


def single(rows: pa.Table, side: str, top: int) -> Shares:
    """The share of draws that are right: what one draw is expected to say."""
    right = column(rows, f"{side}_correct" if top == 1 else f"{side}_top5_correct")
    return right / column(rows, "evaluation_draws")


def persistent(rows: pa.Table, side: str, top: int) -> Shares:
    """Whether every draw is right: an attacker who may ask again needs only one that is not."""
    return (single(rows, side, top) == 1).astype(np.float64)


def mean(rows: pa.Table, side: str, top: int) -> Shares:
    """Whether the label is among the `top` classes of the mean probability over draws."""
    classes = _flat(rows, f"{side}_mean_top5").reshape(len(rows), 5)[:, :top]
    return (classes == column(rows, "label")[:, None]).any(1).astype(np.float64)


def vote(rows: pa.Table, side: str, top: int) -> Shares:
    """Whether the label is among the `top` classes with the most votes, each draw voting for its own first `top`.

    Ties go to the class that draws rank higher, then to the one met first.
    """
    draws, right = column(rows, "evaluation_draws"), single(rows, side, top)
    won = np.where(right > top / (top + 1), 1.0, 0.0)  # no `top` others can have as many votes
    open_ = (right > 0) & (won == 0)
    label = column(rows, "label")
    for count in np.unique(draws[open_]):
        some = np.flatnonzero(open_ & (draws == count))
        fives = _flat(rows.take(some), f"{side}_top5").reshape(len(some), int(count), 5)
        won[some] = _counted(fives[:, :, :top], label[some], top)
    return won


def _counted(ballots: np.ndarray[Any, Any], label: np.ndarray[Any, Any], top: int) -> Shares:
    """Whether the label is among the `top` winners of the ballots (n, draws, top), first choice first."""
    n, draws, _ = ballots.shape
    listed = ballots.reshape(n, -1)
    weight = np.tile(top * draws + 1 - np.arange(top), draws)  # one vote outweighs all ranks
    order = listed.argsort(axis=1, kind="stable")
    votes = np.take_along_axis(listed, order, 1).ravel()
    row = np.repeat(np.arange(n), draws * top)
    starts = np.flatnonzero(np.r_[True, (votes[1:] != votes[:-1]) | (row[1:] != row[:-1])])
    total = np.add.reduceat(weight[order].ravel(), starts)  # of each class that a row's draws name
    row, first, labels = row[starts], order.ravel()[starts], votes[starts] == label[row[starts]]
    least, met = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    least[row[labels]], met[row[labels]] = total[labels], first[labels]
    ahead = (total > least[row]) | ((total == least[row]) & (first < met[row]))
    return ((least > 0) & (np.bincount(row, ahead, n) < top)).astype(np.float64)


def _flat(rows: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """All values of a column of lists, one after the other."""
    values = rows[name].combine_chunks()
    while pa.types.is_nested(values.type):
        values = values.flatten()
    return values.to_numpy()


_COUNTS = ("evaluation_draws", "{}_correct", "{}_top5_correct")

RULES: dict[str, Rule] = {
    "single": Rule(single, _COUNTS),
    "vote": Rule(vote, (*_COUNTS, "label", "{}_top5")),
    "mean": Rule(mean, ("label", "{}_mean_top5")),
    "persistent": Rule(persistent, _COUNTS),
}
"""Decision rules by name."""


def columns(rules: Iterable[str]) -> list[str]:
    """The columns that some rules read, with the status."""
    needed = (text.format(side) for rule in rules for text in RULES[rule].columns for side in ("clean", "adv"))
    return list(dict.fromkeys(["status", *needed]))


def of_row(row: Mapping[str, Any], rule: str, side: str, top: int) -> float:
    """One row's share under a rule; it holds what the rule reads."""
    needed = {text.format(side) for text in RULES[rule].columns}
    return float(RULES[rule].score(pa.Table.from_pylist([{name: row[name] for name in needed if name in row}]), side, top)[0])
