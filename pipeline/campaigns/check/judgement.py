"""Judge the accuracies of a check: how low is defeated, and how much lower is more than chance.

An accuracy on a few images may be lower by luck alone, and a run compares some fifteen. So all comparisons of a run are judged
together, by the rule of Holm (Scandinavian Journal of Statistics 6, 1979): docs/deep-questions.md says how often a run fails by
luck, and what it finds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr

from pipeline.scoring.holm import holm

DEFEATED = 0.02
"""Accuracy up to which a defense counts as defeated: of a few images, at most some single draws are right."""

LITTLE = 0.05
"""A smaller change of accuracy means nothing."""

BY_LUCK = 0.05
"""The chance with which a run of a sound attack may fail in any of its comparisons, by the luck of images and draws."""

Accuracy = Mapping[str, float]
"""Share of right evaluation draws of each image, in [0, 1], by its key."""


class Judged(NamedTuple):
    """Hold what the accuracies of a check say.

    passed      whether they are as they must be, whatever the luck; None where there is nothing to pass
    chances     of each comparison with others, to see so much if nothing is wrong, in [0, 1]
    """

    passed: bool | None = True
    chances: tuple[float, ...] = ()


Judge = Callable[[Mapping[str, Accuracy]], Judged]
"""Judge the accuracies of a check's variants, by name."""


def passed(run: Sequence[Judged]) -> list[bool | None]:
    """Return whether each check of a run is as it must be; a comparison that is beyond the luck of the whole run is not."""
    corrected = iter(holm([chance for one in run for chance in one.chances]).tolist())
    return [all([next(corrected) > BY_LUCK for _ in one.chances]) and one.passed for one in run]


def mean(accuracy: Accuracy) -> float:
    """Return the mean over images."""
    return sum(accuracy.values()) / len(accuracy)


def by_chance(values: Sequence[float]) -> float:
    """Return the chance that a mean of `values` (n,), one an image, is at least as high if that of all images is 0: one-sided,
    by Student's t, and at least 4^-n.

    Shares are counts. Of two equal coins the first is above the second with a chance of up to 1/4, so n differences may be the
    same with a chance of 4^-n, and then have no spread.
    """
    n, found = len(values), np.asarray(values, dtype=np.float64)
    if n < 2 or found.mean() <= 0:
        return 1.0
    error = found.std(ddof=1) / math.sqrt(n)
    return max(0.25**n, float(stdtr(n - 1, -found.mean() / error)) if error else 0.0)


def lower(a: Accuracy, b: Accuracy) -> float:
    """Return the chance that `a` is so much lower than `b` on the images of both; 1 if it is not lower by more than LITTLE."""
    less = [b[key] - a[key] for key in sorted(a.keys() & b.keys())]
    return by_chance(less) if less and sum(less) / len(less) > LITTLE else 1.0


def defeated(name: str) -> Judge:
    """Judge that a variant must have next to no accuracy left, whatever the luck."""
    return lambda accuracies: Judged(mean(accuracies[name]) <= DEFEATED)


def at_chance(name: str, classes: int) -> Judge:
    """Judge that a variant must have no more accuracy than guessing among `classes`."""
    guessing = max(DEFEATED, 1 / classes)
    return lambda accuracies: Judged(chances=(by_chance([share - guessing for share in accuracies[name].values()]),))


def not_beaten_by(*names: str) -> Judge:
    """Judge that no variant may leave less accuracy than the attack in use."""
    return lambda accuracies: Judged(chances=tuple(lower(accuracies[name], accuracies["base"]) for name in names))


def never_rises(names: Sequence[str]) -> Judge:
    """Judge that accuracy must not rise from one variant to the next."""
    return lambda accuracies: Judged(chances=tuple(lower(accuracies[a], accuracies[b]) for a, b in pairwise(names)))


def reported(accuracies: Mapping[str, Accuracy]) -> Judged:
    """Judge nothing: the accuracies are only shown."""
    return Judged(None)
