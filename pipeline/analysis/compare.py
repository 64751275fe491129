"""Compare two attacks or two defenses on the same images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from pipeline.analysis.frames import image_of
from pipeline.errors import BadInput
from pipeline.scoring.intervals import difference


@dataclass(frozen=True)
class Comparison:
    """Hold how two cells differ on the images that both have.

    images                   the number of images that both have
    first, second            the two accuracies, in [0, 1]
    difference               first - second, in [-1, 1]
    low, high                the ends of its 95 % interval over images
    first_only, second_only  the number of images on which the first, or the second, is more right
    p_value                  the probability of a split at least as uneven by chance, exact and two-sided: McNemar's test where
                             images are right or wrong (rules vote, mean, persistent), else the sign test (rule single)
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
    if not len(both):
        raise BadInput("compare: the two have no image in common: both must have attacked the same shards")
    both = both[np.lexsort(both.T)]  # the result does not depend on the order of rows
    ahead, behind = int((both[:, 0] > both[:, 1]).sum()), int((both[:, 0] < both[:, 1]).sum())
    p_value = float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0
    found = difference(both[:, 0], both[:, 1])
    assert found is not None
    first_mean, second_mean = (float(mean) for mean in both.mean(0))
    return Comparison(len(both), first_mean, second_mean, found.value, found.low, found.high, ahead, behind, p_value)
