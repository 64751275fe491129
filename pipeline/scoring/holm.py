"""Correct p-values for their number: of many comparisons some look like more than chance by chance."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[np.float64]]


def holm(p_values: ArrayLike) -> Array:
    """Return p-values (n,) corrected for their number by the method of Holm (1979), in [0, 1].

    If each below 0.05 is believed, the chance that any of them is by luck is at most 5 %, however they depend on each other.
    """
    found = np.asarray(p_values, np.float64)
    order = np.argsort(found, kind="stable")
    stepped = np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1))
    out = np.empty_like(found)
    out[order] = np.minimum(stepped, 1)
    return out
