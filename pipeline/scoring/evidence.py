"""Find how far a mean may lie above a sample: compiled loops over distinct values, by empirical likelihood on a bounded range.

The evidence against a mean m is max over l of sum log(1 + l (m - v_i)), v_i in [0, 1]: how much likelier the sample is than under
the likeliest distribution with the mean m (Owen 1988; with bounds on l Honda and Takemura 2010). For a given m and l it falls as
any v_i rises. So both ends of an interval rise with every value, whatever bounds and critical values are chosen for each m.
"""

import math
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, np.dtype[np.float64]]

SHIFT = 1.5
"""Images by whose share a rate is moved, against the steps of counts: see `rate_keeps`. The least multiple of 1/2 that covers."""

ENOUGH = 5.0
"""Right images to expect before a small spread is believed: see `rate_keeps`; the least number of the rule of thumb."""

UNSEEN = 0.63
"""Images added at the far end of the range for a mean: makes the ends for rare events those of Poisson counts."""

_CLOSE = 1e-11
"""Distance in which an end is found."""


@njit(cache=True, nogil=True)
def evidence(values: Array, counts: Array, m: float, steepest: float) -> float:
    """Return the evidence that the mean is less than m, at least 0: the maximum over l in [0, `steepest`].

    values  (n,) distinct, in [0, 1]
    counts  (n,) images with each value, more than 0
    m       in (0, 1)
    """
    slope, top = 0.0, 0.0
    for i in range(len(values)):
        slope += counts[i] * (m - values[i])
        top = max(top, values[i])
    if slope <= 0:
        return 0.0
    low, high = 0.0, steepest
    tilt = steepest
    if steepest * (top - m) > 1 - _CLOSE:  # a factor would be 0
        high = 1 / (top - m)
        tilt = 0.5 * high
    for _ in range(100):
        slope, bend = 0.0, 0.0
        for i in range(len(values)):
            part = (m - values[i]) / (1 + tilt * (m - values[i]))
            slope += counts[i] * part
            bend += counts[i] * part * part
        if slope > 0:
            low = tilt
        else:
            high = tilt
        if low == high:  # still rising at the steepest
            break
        better = tilt + slope / bend
        if not low < better < high or tilt == steepest:
            better = 0.5 * (low + high)
        if abs(better - tilt) < 1e-10 * tilt:
            break
        tilt = better
    total = 0.0
    for i in range(len(values)):
        total += counts[i] * math.log1p(tilt * (m - values[i]))
    return total


@njit(cache=True, nogil=True)
def rate_keeps(values: Array, counts: Array, images: float, m: float, z: float) -> bool:
    """Return whether the mean m, above that of the sample, is within the interval of a rate; `z` is its normal quantile.

    The critical value is that which makes the interval Wilson's where shares are 0 or 1, for a rate p that is moved to
    p (1 + SHIFT / images) before: its steps are those of counts. None right keeps Wilson's end, which is the least for every sample.
    An image that the sample does not show may have any share, if fewer than ENOUGH right images are expected at m; the more are
    expected, the nearer to m it must be.
    """
    seen = (m - z * math.sqrt(m * (1 - m) / images)) / (1 + SHIFT / images)
    if seen <= 0:
        return True
    critical = images * (seen * math.log(seen / m) + (1 - seen) * math.log((1 - seen) / (1 - m)))
    return evidence(values, counts, m, max(1.0, images * m / ENOUGH) / (1 - m)) <= critical


@njit(cache=True, nogil=True)
def rate_end(values: Array, counts: Array, z: float) -> float:
    """Return the upper end of the interval of a rate; `values` and `counts` (n,) as for `evidence`."""
    images = counts.sum()
    low, high = (values * counts).sum() / images, 1.0
    while high - low > _CLOSE:
        m = 0.5 * (low + high)
        if rate_keeps(values, counts, images, m, z):
            low = m
        else:
            high = m
    return high


@njit(cache=True, nogil=True)
def mean_keeps(values: Array, counts: Array, m: float, z: float) -> bool:
    """Return whether the mean m, above that of the sample, is within the interval of a mean; UNSEEN images at 1 are in the sample.

    An image that the sample does not show may have any value.
    """
    return evidence(values, counts, m, 1 / (1 - m)) <= z * z / 2


@njit(cache=True, nogil=True)
def mean_end(values: Array, counts: Array, z: float) -> float:
    """Return the upper end of the interval of a mean of values that may lie anywhere in [0, 1]; arguments as for `rate_end`."""
    shown, weights = np.append(values, 1.0), np.append(counts, UNSEEN)
    low, high = (values * counts).sum() / counts.sum(), 1.0
    while high - low > _CLOSE:
        m = 0.5 * (low + high)
        if mean_keeps(shown, weights, m, z):
            low = m
        else:
            high = m
    return high
