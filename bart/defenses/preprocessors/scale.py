"""Name ranges of whole numbers, so that draws can be compared by the range in which a parameter of theirs is."""

from bisect import bisect_right
from typing import NamedTuple

RANGES = 5
"""The most ranges of a parameter: with more, each has few draws."""


class Scale(NamedTuple):
    """Cut `low`..`high`, both ends included, into ranges of equal length, or one more; `what` is their common name."""

    what: str
    low: int
    high: int

    @property
    def starts(self) -> list[int]:
        """Return the least number of each range."""
        count = self.high - self.low + 1
        ranges = min(RANGES, count)
        return [self.low + count * i // ranges for i in range(ranges)]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the ranges, such as "quality 55-62"; none if there is only one number."""
        starts = self.starts
        ends = [*(start - 1 for start in starts[1:]), self.high]
        if len(starts) == 1:
            return ()
        return tuple(f"{self.what} {a}" if a == b else f"{self.what} {a}-{b}" for a, b in zip(starts, ends, strict=True))

    def name_of(self, value: int) -> str:
        """Return the name of the range that holds a number in `low`..`high`."""
        return self.names[bisect_right(self.starts, value) - 1]
