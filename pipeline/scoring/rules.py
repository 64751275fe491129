"""Score each image under every decision rule, in [0, 1]: whole columns of rows at once, one number an image."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from barrage_plugins import Registry
from pipeline.scoring import decided

Shares = np.ndarray[Any, np.dtype[np.float64]]


class Rule(NamedTuple):
    """Describe a decision rule.

    score(rows, side, top)  shares (n,) of attacked rows, `side` "clean" or "adv", `top` 1 or 5: whether the label is among
                            the first `top` classes
    columns                 the columns that it reads, with `{}` for the side; of rows alike in them it says the same
    about                   one sentence for the report's page
    version                 of its definition, from 1
    """

    score: Callable[[pa.Table, str, int], Shares]
    columns: tuple[str, ...]
    about: str = ""
    version: int = 1


def attacked(rows: pa.Table) -> pa.Table:
    """Return the rows of images that were attacked. The row of an image that could not be attacked holds only the reason."""
    if _one_word(rows["status"]) == "ok":
        return rows
    good = pc.equal(rows["status"], "ok")
    return rows if pc.all(good, min_count=0).as_py() else rows.filter(good)  # copying lists takes long


def _one_word(column: pa.ChunkedArray) -> str | None:
    """Return the text that all rows have in a column of dictionaries, where the dictionaries alone show it."""
    if not pa.types.is_dictionary(column.type) or column.null_count:
        return None
    words = {word for chunk in column.chunks for word in (chunk.dictionary.to_pylist() if len(chunk.dictionary) < 2 else "..")}
    return words.pop() if len(words) == 1 else None


def failed(rows: pa.Table) -> pa.Table:
    """Return the rows of images that could not be attacked."""
    return rows.filter(pc.not_equal(rows["status"], "ok"))


def column(rows: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """Return a column of numbers (n,); nulls become NaN."""
    return rows[name].to_numpy()


def single(rows: pa.Table, side: str, top: int) -> Shares:
    """Return the share of draws that are right, the expected accuracy of one draw, (n,) in [0, 1]."""
    return decided.share(rows, side, top)


def persistent(rows: pa.Table, side: str, top: int) -> Shares:
    """Return 1 where every draw is right, else 0, (n,): an attacker who may ask again needs only one wrong draw."""
    return (single(rows, side, top) == 1).astype(np.float64)


def mean(rows: pa.Table, side: str, top: int) -> Shares:
    """Return 1 where the label is among the `top` classes of the mean probability over draws, else 0, (n,)."""
    return decided.says(rows, "mean", side, top)


def vote(rows: pa.Table, side: str, top: int) -> Shares:
    """Return 1 where the label is among the `top` classes with the most votes, else 0, (n,).

    Each draw votes for its own first `top` classes. Ties go to the class that draws rank higher, then to the one met first.
    """
    return decided.says(rows, "vote", side, top)


_COUNTS = ("evaluation_draws", "{}_correct", "{}_top5_correct")

RULES: Registry[Rule] = Registry(
    "decision rule",
    "rules",
    builtin={
        "single": Rule(single, _COUNTS, "What one fresh draw is expected to say."),
        "vote": Rule(vote, ("{}_right",), "The class that most draws say."),
        "mean": Rule(mean, ("{}_right",), "The class with the highest mean probability over the draws."),
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
    """Return one row's share under a rule; the row holds the columns that the rule reads, or what these follow from."""
    wanted = [text.format(side) for text in RULES[rule].columns]
    given = {"status": "ok", **row}
    found = pa.Table.from_pylist([{name: given[name] for name in decided.needed(wanted, row) if name in given}])
    for name in (name for name in wanted if name in decided.DECIDED and name not in row):
        if set(decided.DECIDED[name]) <= given.keys():
            found = found.append_column(name, decided.column(found, name))
    return float(RULES[rule].score(found, side, top)[0])
