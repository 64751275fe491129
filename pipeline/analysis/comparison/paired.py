"""Compare two lists of shares on the same images: difference with interval, exact test, and who is right where."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from pipeline.analysis.frames import image_of
from pipeline.errors import BadInput
from pipeline.scoring.intervals import difference

Array = np.ndarray[Any, np.dtype[np.float64]]

Table = tuple[tuple[int, int], tuple[int, int]]
"""Counts of images: ((both right, only the first), (only the second, neither)); right is a share above one half."""


@dataclass(frozen=True)
class Comparison:
    """Hold how two cells differ on the images that both have.

    images                   the number of images that both have
    first, second            the two accuracies, in [0, 1]
    difference               first - second, in [-1, 1]
    low, high                the ends of its 95 % interval over images
    first_only, second_only  the number of images on which the first, or the second, is more right
    p_value                  the probability of a split at least as uneven by chance, exact and two-sided
    test                     which test this is: McNemar's where images are right or wrong (rules vote, mean, persistent), else
                             the sign test (rule single)
    table                    `Table`: on how many images both, one or none is right in more than half of the draws
    """

    images: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    first_only: int
    second_only: int
    p_value: float
    test: str
    table: Table

    @property
    def interval(self) -> str:
        """Return the difference in points with its interval."""
        return f"{100 * self.difference:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"

    def __str__(self) -> str:
        """Return the difference in points with its interval, the split and the p-value, in one line."""
        points = f"{100 * self.difference:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        split = f"{self.first_only} images for the first, {self.second_only} for the second"
        return f"{points} on {self.images} images; {split}; p = {self.p_value:.2g}"


def compare(first: pd.DataFrame, second: pd.DataFrame, value: str = "adv") -> Comparison:
    """Compare two cells, image by image.

    first, second   lines of `analysis.scores`, each of one cell, both of the same rule
    value           the column to compare: `adv`, `clean` or `target_hit`
    Raises BadInput if a frame holds an image twice, or if the two have no image in common.
    """
    sides = []
    for name, frame in (("first", first), ("second", second)):
        image = image_of(frame)
        shares = frame.dropna(subset=[value]).astype(dict.fromkeys(image, str)).set_index(image)[value]
        if shares.index.has_duplicates:
            raise BadInput(f"compare: the {name} holds an image twice: give the lines of one cell, scores[scores.cell == NAME]")
        sides.append(shares)
    both = pd.concat(sides, axis=1, join="inner").to_numpy()
    found = of_shares(both[:, 0], both[:, 1])
    if found is None:
        raise BadInput("compare: the two have no image in common: both must have attacked the same shards")
    return found


def of_shares(first: ArrayLike, second: ArrayLike) -> Comparison | None:
    """Compare shares (images,) in [0, 1] of the same images in the same order, whatever it is; None without images."""
    both = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)], 1)
    if not len(both):
        return None
    both = both[np.lexsort(both.T)]  # the result does not depend on the order of rows
    a, b = both.T
    ahead, behind = int((a > b).sum()), int((a < b).sum())
    found = difference(a, b)
    assert found is not None
    return Comparison(
        images=len(both),
        first=float(a.mean()),
        second=float(b.mean()),
        difference=found.value,
        low=found.low,
        high=found.high,
        first_only=ahead,
        second_only=behind,
        p_value=float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0,
        test="McNemar" if np.isin(both, (0, 1)).all() else "sign",
        table=_table(a > 0.5, b > 0.5),
    )


def _table(first: np.ndarray[Any, np.dtype[np.bool_]], second: np.ndarray[Any, np.dtype[np.bool_]]) -> Table:
    """Return the 2 x 2 of images, given which are right in each, (images,) bool."""
    both, one, other = ((x & y).sum() for x, y in ((first, second), (first, ~second), (~first, second)))
    return (int(both), int(one)), (int(other), int(len(first) - both - one - other))
