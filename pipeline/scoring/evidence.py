"""Find how far a mean may lie above a sample: compiled loops over distinct values, by empirical likelihood on a bounded range.

The evidence against a mean m is the maximum over l of sum log(1 + l (m - v)) over the values v, in [0, 1], of a sample: how
much likelier the sample is as it is than under the likeliest distribution of mean m (Owen 1988; with bounds on l, so that
values not seen may occur, Honda and Takemura 2010). For given m and l each term falls as its value rises. So both ends of an
interval rise with every value, whatever bound and critical value are chosen for each m.
"""

import math
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, np.dtype[np.float64]]

SHIFT = 1.5
"""Images by whose share a rate is moved against the steps of counts: the least multiple of 1/2 that covers from 10 images."""

ENOUGH = 5.0
"""Right images to expect before a small spread is believed: the rule of thumb of expected counts."""

UNSEEN = 0.63
"""Images added at the far end of a mean's range: with them, the ends for rare events are the exact ones of Poisson counts."""

_CLOSE = 1e-11
"""Distance in which an end is found."""


@njit(cache=True, nogil=True)
def evidence(values: Array, counts: Array, m: float, steepest: float) -> float:
    """Return the evidence that the mean is less than m, at least 0: the maximum over l in [0, `steepest`].

    values  (n,) distinct, in [0, 1]
    counts  (n,) images with each value, more than 0
    m       in (0, 1)
    """
    if (counts * (m - values)).sum() <= 0:
        return 0.0
    tilt, total = _likeliest(values, counts, m, steepest), 0.0
    for i in range(len(values)):
        total += counts[i] * math.log1p(tilt * (m - values[i]))
    return total


@njit(cache=True, nogil=True)
def _likeliest(values: Array, counts: Array, m: float, steepest: float) -> float:
    """Return the l of `evidence`, by Newton's method between bounds; the derivative falls with l, and is positive at 0."""
    low, high = 0.0, steepest
    tilt, top = steepest, values.max()
    if steepest * (top - m) > 1 - _CLOSE:  # a term would be infinite
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
        better = tilt + slope / bend
        if not low < better < high:
            better = 0.5 * (low + high)
        if abs(better - tilt) < 1e-10 * tilt:
            break
        tilt = better
    return tilt


@njit(cache=True, nogil=True)
def rate_keeps(values: Array, counts: Array, images: float, m: float, z: float) -> bool:
    """Return whether the mean m, above that of the sample, is within the interval of a rate; `z` is its normal quantile.

    The critical value makes the interval of shares that are 0 or 1 Wilson's, for a rate p that was moved to
    p (1 + SHIFT / images), against the steps of counts. Where none is right, it is Wilson's own, the least of any sample.
    An image unlike those seen may have any share as long as fewer than ENOUGH right images are expected at m; the more are
    expected, the nearer to m its share must be.
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
    """Return whether the mean m, above that of the sample, is within the interval of a mean.

    UNSEEN images at 1 are in the sample: an image unlike those seen may have any value.
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
