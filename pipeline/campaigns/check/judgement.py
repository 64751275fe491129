"""Judge the accuracies of a check: how low is defeated, and how much lower is more than chance.

A check has few images and must be quick to warn: what is more than chance is judged by the normal distribution, which is sooner
sure than the intervals of tables.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from pipeline.scoring.intervals import half_width, paired_difference

DEFEATED = 0.02
"""Accuracy up to which a defense counts as defeated: of a few images, at most some single draws are right."""

LITTLE = 0.05
"""A smaller change of accuracy means nothing. If the normal 95 % interval of the paired difference is wider, that counts."""

Accuracy = Mapping[str, float]
"""Share of right evaluation draws of each image, in [0, 1], by its key."""

Judge = Callable[[Mapping[str, Accuracy]], bool | None]
"""Return whether the accuracies of a check's variants, by name, are as they must be; None where there is nothing to pass."""


def mean(accuracy: Accuracy) -> float:
    """Return the mean over images."""
    return sum(accuracy.values()) / len(accuracy)


def lower(a: Accuracy, b: Accuracy) -> bool:
    """Return whether `a` is lower than `b` on the images of both, by more than chance and by more than LITTLE."""
    keys = a.keys() & b.keys()
    difference, half = paired_difference([a[key] for key in keys], [b[key] for key in keys])
    return -difference > max(LITTLE, half)


def defeated(name: str) -> Judge:
    """Judge that a variant must have next to no accuracy left."""
    return lambda accuracies: mean(accuracies[name]) <= DEFEATED


def at_chance(name: str, classes: int) -> Judge:
    """Judge that a variant must have no more accuracy than guessing among `classes`, within its normal 95 % interval."""

    def judge(accuracies: Mapping[str, Accuracy]) -> bool:
        accuracy = accuracies[name]
        return mean(accuracy) <= max(DEFEATED, 1 / classes) + half_width(list(accuracy.values()))

    return judge


def not_beaten_by(*names: str) -> Judge:
    """Judge that no variant may leave less accuracy than the attack in use."""
    return lambda accuracies: not any(lower(accuracies[name], accuracies["base"]) for name in names)


def never_rises(names: Sequence[str]) -> Judge:
    """Judge that accuracy must not rise from one variant to the next."""
    return lambda accuracies: not any(lower(accuracies[a], accuracies[b]) for a, b in pairwise(names))


def reported(accuracies: Mapping[str, Accuracy]) -> None:
    """Judge nothing: the accuracies are only shown."""
