"""Count images whose attack saw no gradient, and so was blind: their accuracy says nothing about the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COLUMNS = (
    "steps", "first_break", "zero_gradients", "nonfinite_gradients", "evaluation_draws", "adv_correct", "target_hits",
)  # fmt: skip
"""The columns of a row that tell it."""

SHARE = 0.5
"""The share of an image's steps without a gradient from which on its attack counts as blind."""


def blind(rows: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return for which attacked images the attack was blind, (n,), from the columns of their rows; nulls as None or NaN.

    It was if at least half of the gradients of its steps were not finite; or if at least half were that or zero, and it did not
    succeed in every draw.
    """
    found = {name: np.asarray(rows[name], dtype=np.float64) for name in COLUMNS}
    taken = np.where(np.isnan(found["first_break"]), found["steps"], found["first_break"])
    broken = np.nan_to_num(found["nonfinite_gradients"])
    without = np.nan_to_num(found["zero_gradients"]) + broken
    untargeted = np.isnan(found["target_hits"])
    won = np.where(untargeted, found["adv_correct"] == 0, found["target_hits"] == found["evaluation_draws"])
    return (taken > 0) & ((broken >= SHARE * taken) | (without >= SHARE * taken) & ~won)


def alarm(number: int, images: int) -> str:
    """Return in words that the attack was blind for `number` of `images` images; empty if it was for none."""
    if not number:
        return ""
    percent = 100 * number / images
    return f"{percent:.{0 if percent >= 1 else 2}f} % of images had no gradient: the attack was blind"
