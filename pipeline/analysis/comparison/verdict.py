"""Decide whether the second of two cells is worse by more than a margin, for a program that must stop or go on."""

import math
from enum import StrEnum

from pipeline.analysis.comparison.paired import Comparison
from pipeline.errors import BadInput


class Judged(StrEnum):
    """Name what is judged: a defense is worse where fewer attacked images are right, an attack where more are."""

    DEFENSE = "defense"
    ATTACK = "attack"


class Verdict(StrEnum):
    """Name what the interval of a difference says of a margin."""

    WORSE = "worse"
    UNDECIDED = "undecided"
    NOT_WORSE = "not worse"


def loss(found: Comparison, judged: Judged = Judged.DEFENSE) -> tuple[float, float, float]:
    """Return by how much the second is worse, in [-1, 1], and the ends of its 95 % interval; less than 0: it is better."""
    if judged is Judged.DEFENSE:
        return found.difference, found.low, found.high
    return -found.difference, -found.high, -found.low


def verdict(found: Comparison, points: float, judged: Judged = Judged.DEFENSE) -> Verdict:
    """Return whether the second is worse by more than a margin, by the 95 % interval of the difference.

    points  the margin, percentage points from 0 to 100
    WORSE if the whole interval is beyond the margin, NOT_WORSE if none of it is, UNDECIDED if the margin lies within it: then more
    images would decide. Raises BadInput for another margin.
    """
    if not 0 <= points <= 100 or math.isnan(points):
        raise BadInput(f"{points:g} points: expected a margin from 0 to 100 percentage points")
    _, low, high = loss(found, judged)
    margin = points / 100
    return Verdict.WORSE if low > margin else Verdict.NOT_WORSE if high <= margin else Verdict.UNDECIDED


def said(found: Comparison, points: float, judged: Judged = Judged.DEFENSE) -> str:
    """Return the verdict in words, with by how much the second is worse or better."""
    value, low, high = (100 * end for end in loss(found, judged))
    ends = f"{value:+.1f} points of loss, 95 % interval {low:+.1f} to {high:+.1f}"
    return f"{verdict(found, points, judged)} by more than {points:g} points ({judged}: {ends})"
