"""Count which classes are taken for which under attack, and name them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.analysis.accuracy import rates
from pipeline.analysis.errors.reading import Array, attacked, labels, mean_class
from pipeline.scoring import rules

COLUMNS = ("label", "adv_mean_top5")

MOST = 30
"""The most classes that a matrix shows one by one."""

NO_ANSWER = "no answer"
"""Name of the class -1: a logit was NaN or infinite."""

_SPAN = 1 << 32


@dataclass(frozen=True)
class Confusion:
    """Hold how often each class was taken for each under attack.

    classes  labels, ascending; -1 for no answer
    names    their names; a label as text where the store knows none
    counts   images, (classes, classes) int64: a row for each right class, a column for each class of the mean probability under
             attack; if there are more classes than these, one more row and column for the others
    """

    classes: tuple[int, ...]
    names: tuple[str, ...]
    counts: Array

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"classes": list(self.classes), "names": list(self.names), "counts": self.counts.tolist()}


class Tally:
    """Count pairs of classes, batch by batch."""

    def __init__(self) -> None:
        self.pairs = Counter[int]()

    def add(self, rows: pa.Table) -> None:
        """Add attacked rows with COLUMNS; samples without a label are left out."""
        label = labels(rows)
        known = ~np.isnan(label)
        pairs = label[known].astype(np.int64) * _SPAN + mean_class(rows)[known] + 1
        found, times = np.unique(pairs, return_counts=True)
        self.pairs.update(dict(zip(found.tolist(), times.tolist(), strict=True)))

    def confusion(self, names: list[str], most: int = MOST) -> Confusion:
        """Return the matrix of the `most` classes that take part in most errors; of equal ones, of the lowest labels."""
        pairs = {(pair // _SPAN, pair % _SPAN - 1): times for pair, times in self.pairs.items()}
        wrong = Counter[int]()
        for (label, said), times in pairs.items():
            for one in {label, said}:
                wrong[one] += times * (label != said)
        shown = sorted(sorted(wrong, key=lambda one: (-wrong[one], one))[:most])
        place = {one: i for i, one in enumerate(shown)}
        counts = np.zeros((len(shown) + (len(wrong) > most),) * 2, dtype=np.int64)
        for (label, said), times in pairs.items():
            counts[place.get(label, -1), place.get(said, -1)] += times
        return Confusion(tuple(shown), tuple(named(one, names) for one in shown), counts)


class Shares:
    """Hold how right the images of each class are, batch by batch: 20 bytes an image.

    rule, top   what counts as right, as in `analysis.scores`
    """

    def __init__(self, rule: str, top: int) -> None:
        self.rule, self.top = rule, top
        self._found: list[tuple[Array, Array, Array]] = []

    def add(self, rows: pa.Table) -> None:
        """Add attacked rows with `label` and the columns of the rule; samples without a label or a share are left out."""
        label, score = labels(rows), rules.RULES[self.rule].score
        clean, adv = (score(rows, side, self.top) for side in ("clean", "adv"))
        known = ~np.isnan(label) & ~np.isnan(clean)
        self._found.append((label[known].astype(np.int32), clean[known], adv[known]))

    def lines(self, names: list[str]) -> list[dict[str, Any]]:
        """Return a line for each class, that with the least accuracy under attack first, then of the lowest label."""
        label, *shares = map(np.concatenate, zip(*self._found, strict=True)) if self._found else [np.empty(0)] * 3
        classes, group = np.unique(label, return_inverse=True)
        sides = {side: rates(each, group) for side, each in zip(("clean", "adv"), shares, strict=True)}
        found = []
        for i, (one, images) in enumerate(zip(classes.tolist(), np.bincount(group).tolist(), strict=True)):
            line: dict[str, Any] = {"label": int(one), "name": named(int(one), names), "images": images}
            for side, each in sides.items():
                of = each[i]
                ends = (of.value, of.low, of.high) if of else (None, None, None)
                line |= dict(zip((side, f"{side}_low", f"{side}_high"), ends, strict=True))
            found.append(line)
        return sorted(found, key=lambda line: (line["adv"] is None, line["adv"]))


def confusion(store: str, cell: str, names: list[str] | None = None, most: int = MOST) -> Confusion:
    """Return which classes of a cell are taken for which under attack: by the mean probability over the evaluation draws.

    names   of the classes by label, such as `analysis.class_names(store)`
    most    classes shown one by one: those that take part in most errors
    Raises BadInput for a cell that the store lacks.
    """
    tally = Tally()
    for rows in attacked(store, COLUMNS, [cell]):
        tally.add(rows)
    return tally.confusion(names or [], most)


def named(label: int, names: list[str]) -> str:
    """Return the name of a class; its label as text where none is known."""
    if label < 0:
        return NO_ANSWER
    return names[label] if label < len(names) else str(label)
