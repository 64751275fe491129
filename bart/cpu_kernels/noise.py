"""Add noise on a CPU, compiled: what `bart.transforms.noise` defines, with the same bits. All arrays are lines of one image."""

from typing import Any

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled, fma

FACTORIALS = np.array([1, 1, 2, 6, 24, 120], np.float64)


@compiled
def field(low: int, high: int, out: Image) -> None:
    """Fill `out` with the field of `bart.rng.field` from the two halves of a folded seed."""
    first, second = np.uint32(low), np.uint32(high)
    for i in range(len(out)):
        mixed = _mix(np.uint32(_mix(np.uint32(i) ^ first) + second))
        out[i] = np.float32(np.int32(mixed >> np.uint32(8))) * np.float32(2.0**-24)


@compiled
def _mix(x: Any) -> Any:
    """Hash by `lowbias32`."""
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@compiled
def add(x: Image, deviate: Image, deviation: float, own: float, y: Image, passes: Image) -> None:
    """Add deviates times a deviation, or times `own` of the image; clip, and mark what was not clipped."""
    for i in range(len(x)):
        value = fma(deviate[i], own * x[i] + deviation, x[i])
        clipped = min(max(value, np.float32(0)), np.float32(1))
        y[i] = clipped
        passes[i] = value == clipped


@compiled
def replace(x: Image, uniform: Image, black: float, replaced: float, y: Image, passes: Image) -> None:
    """Make values black whose uniform number is below `black`, and white below `replaced`; mark the others."""
    for i in range(len(x)):
        stays = uniform[i] >= replaced
        other = np.float32(1) if uniform[i] >= black else np.float32(0)
        y[i] = min(max(x[i], np.float32(0)), np.float32(1)) if stays else other
        passes[i] = stays and x[i] >= 0 and x[i] <= 1


@compiled
def count(mean: Image, root: Image, term: Image, uniform: Image, normal: Image, levels: int, y: Image, passes: Image) -> None:
    """Write Poisson counts / `levels` by inversion; clip, and mark what was not clipped.

    root    of the mean or 1, and `term` = exp(-mean), by PyTorch, which rounds neither as others do
    """
    for i in range(len(mean)):
        square = normal[i] * normal[i]
        quantile = ((square + np.float32(2)) / root[i] * np.float32(-1 / 72) + root[i]) * normal[i]
        quantile = fma(square, np.float32(1 / 6), fma(root[i], root[i], quantile)) + np.float32(1 / 3)
        y[i] = max(np.floor(quantile), np.float32(6))
    for i in range(len(mean)):
        part, cumulative = term[i], term[i]
        smaller = np.float32(uniform[i] > cumulative)
        for k in range(1, 6):
            part *= mean[i]
            cumulative = fma(part, np.float32(1 / FACTORIALS[k]), cumulative)
            smaller += np.float32(uniform[i] > cumulative)
        value = (smaller if smaller < np.float32(6) else y[i]) / np.float32(levels)
        y[i] = min(value, np.float32(1))
        passes[i] = value <= np.float32(1)


@compiled
def pass_on(gradient: Image, passes: Image, out: Image) -> None:
    """Pass a gradient where `passes`; a product keeps NaN visible."""
    for i in range(len(out)):
        out[i] = gradient[i] * np.float32(passes[i])


@compiled
def pass_on_scaled(gradient: Image, passes: Image, deviate: Image, own: float, out: Image) -> None:
    """Pass the gradient of noise in proportion to the image."""
    for i in range(len(out)):
        kept = gradient[i] * np.float32(passes[i])
        out[i] = kept + kept * deviate[i] * own
