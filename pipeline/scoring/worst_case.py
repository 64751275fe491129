"""Find how right images are under their worst attack: the least of noisy shares is too low."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

_EQUAL = 1e-9
"""Shares no further apart are ties."""


def judged_apart(shares: Array, draws: Array) -> Array:
    """Return how right each image is under the attack that was chosen without the draw that judges it, (images,) in [0, 1].

    shares  (images, attacks) share of right draws
    draws   (images, attacks) number of draws, at least 1

    One draw of each attack is left out, the attack with the least share of the others is taken, and its left-out draw judges:
    the mean over all draws that can be left out, and over both orders of ties. Its expectation is the accuracy under an
    attacker who chooses by all draws but one: never less than under one who knows the worst attack of each image. An attack
    with one draw is of a model that is not random, and its share exact.
    """
    others = np.maximum(draws - 1, 1)
    after_right = np.where(draws > 1, (shares * draws - 1) / others, shares)
    after_wrong = np.where(draws > 1, shares * draws / others, shares)
    return (_judged(shares, after_right, after_wrong) + _judged(*(a[:, ::-1] for a in (shares, after_right, after_wrong)))) / 2


def _judged(shares: Array, after_right: Array, after_wrong: Array) -> Array:
    """Return the chance that the left-out draw of the chosen attack is right, (images,); ties go to the first attack.

    after_right, after_wrong  (images, attacks) share of the other draws, if the left-out one is right or wrong
    """
    total = np.zeros(len(shares))
    for attack in range(shares.shape[1]):
        least = after_right[:, attack, None]
        margin = np.where(np.arange(shares.shape[1]) < attack, _EQUAL, -_EQUAL)  # an earlier one must be higher, not equal
        higher = shares * (after_right > least + margin) + (1 - shares) * (after_wrong > least + margin)
        higher[:, attack] = shares[:, attack]
        total += higher.prod(1)
    return total
