"""Decide whether the second of two cells is worse by more than a margin, for a program that must stop or go on.

A defense is worse where fewer attacked images are right, an attack where more are.
"""

from enum import StrEnum

from pipeline.analysis.comparison.paired import Comparison
from pipeline.errors import BadInput


class Verdict(StrEnum):
    """Name what the interval of a difference says of a margin."""

    WORSE = "worse"
    UNDECIDED = "undecided"
    NOT_WORSE = "not worse"


def margin(points: float) -> float:
    """Return a margin of 0 to 100 percentage points as a share. Raises BadInput for another one."""
    if not 0 <= points <= 100:  # nor is NaN
        raise BadInput(f"{points:g} points: expected a margin of 0 to 100 percentage points, such as 2")
    return points / 100


def loss(found: Comparison, attack: bool = False) -> tuple[float, float, float]:
    """Return by how much the second is worse, in [-1, 1], and the ends of its 95 % interval; below 0 it is better.

    attack  whether two attacks are compared, rather than two defenses
    """
    if not attack:
        return found.difference, found.low, found.high
    return 0 - found.difference, 0 - found.high, 0 - found.low  # `0 -`: never a zero with a minus


def verdict(found: Comparison, points: float, attack: bool = False) -> Verdict:
    """Return whether the second is worse by more than a margin, by the 95 % interval of the difference.

    points  the margin, 0 to 100 percentage points
    attack  whether two attacks are compared, rather than two defenses
    WORSE if the whole interval is beyond the margin, NOT_WORSE if none of it is, UNDECIDED if the margin lies within it: then
    more images would decide. Raises BadInput for another margin.
    """
    _, low, high = loss(found, attack)
    most = margin(points)
    return Verdict.WORSE if low > most else Verdict.NOT_WORSE if high <= most else Verdict.UNDECIDED


def said(found: Comparison, points: float, attack: bool = False) -> str:
    """Return the verdict in words, with by how much the second is worse; arguments as for `verdict`."""
    value, low, high = (100 * end for end in loss(found, attack))
    judged = "an attack" if attack else "a defense"
    return (
        f"{verdict(found, points, attack)} by more than {points:g} points as {judged}: by {value:.1f} [{low:.1f}, {high:.1f}]"
    )
