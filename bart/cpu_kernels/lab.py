"""Shift images in LAB on a CPU, compiled, with the bits of `bart.transforms.color_space`, forward and backward.

The curves before and after are in `bart.cpu_kernels.powers`. Parts of an image stay in the first-level cache; each loop writes
one line, so it becomes vector instructions. Gradients are added in the order of autograd.
"""

from typing import Any

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled, part

CHUNK = 2048
"""Pixels that are computed together."""
DARK, DIM, FALL = np.float32(0.2068966), np.float32(16 / 116), np.float32(7.787)
"""Roots above the first are cubed; the others are x = (root - DIM) / FALL. As in `bart.transforms.color`."""
TO_A, TO_B, TO_L, BLACK, BRIGHT, ZERO = (np.float32(number) for number in (500, 200, 116, 16, 100, 0))


@compiled
def lab(offset: Image, roots: Image, white: Image, out: Image) -> None:
    """Write XYZ (3, pixels) after a shift in LAB by the offsets (3,), with L clipped, from the roots of XYZ / white."""
    for start in range(0, roots.shape[1], CHUNK):
        end = min(start + CHUNK, roots.shape[1])
        x, y, z = roots[0, start:end], roots[1, start:end], roots[2, start:end]
        one, light, two = out[0, start:end], out[1, start:end], out[2, start:end]
        for i in range(len(light)):
            light[i] = (_clip(_lightness(y[i], offset[0])) + BLACK) / TO_L
        for i in range(len(one)):
            one[i] = _cube(_first(x[i], y[i], light[i], offset[1])) * white[0]
        for i in range(len(two)):
            two[i] = _cube(max(_last(y[i], z[i], light[i], offset[2]), ZERO)) * white[2]
        for i in range(len(light)):
            light[i] = _cube(light[i]) * white[1]


@compiled
def lab_backward(offset: Image, roots: Image, gradient: Image, white: Image, out: Image) -> None:
    """Write the gradient of the roots from that of the XYZ after the shift."""
    scratch = np.empty(CHUNK, np.float32)
    for start in range(0, roots.shape[1], CHUNK):
        end = min(start + CHUNK, roots.shape[1])
        x, y, z, light = roots[0, start:end], roots[1, start:end], roots[2, start:end], scratch[: end - start]
        red, green, blue = gradient[0, start:end], gradient[1, start:end], gradient[2, start:end]
        one, middle, two = out[0, start:end], out[1, start:end], out[2, start:end]
        for i in range(len(light)):
            light[i] = (_clip(_lightness(y[i], offset[0])) + BLACK) / TO_L
        for i in range(len(one)):
            one[i] = _slope(_first(x[i], y[i], light[i], offset[1]), red[i] * white[0])
        for i in range(len(two)):
            root = _last(y[i], z[i], light[i], offset[2])
            two[i] = _slope(max(root, ZERO), blue[i] * white[2]) if root >= ZERO else ZERO
        for i in range(len(middle)):
            own, lightness = _slope(light[i], green[i] * white[1]) + two[i] + one[i], _lightness(y[i], offset[0])
            middle[i] = own / TO_L * np.float32(lightness >= ZERO and lightness <= BRIGHT)
        for i in range(len(one)):
            one[i] = one[i] / TO_A * TO_A
        for i in range(len(two)):
            two[i] = two[i] / TO_B * TO_B
        for i in range(len(middle)):
            middle[i] = -two[i] - one[i] + middle[i] * TO_L


@part
def _lightness(y: Any, shift: Any) -> Any:
    """Return L, shifted."""
    return y * TO_L - BLACK + shift


@part
def _clip(lightness: Any) -> Any:
    """Clip L."""
    return ZERO if lightness < ZERO else BRIGHT if lightness > BRIGHT else lightness


@part
def _first(x: Any, y: Any, light: Any, shift: Any) -> Any:
    """Return the root of X after the shift of a."""
    return ((x - y) * TO_A + shift) / TO_A + light


@part
def _last(y: Any, z: Any, light: Any, shift: Any) -> Any:
    """Return the root of Z after the shift of b, which may be below 0."""
    return light - ((y - z) * TO_B + shift) / TO_B


@part
def _cube(root: Any) -> Any:
    """Return what has the root."""
    return root * root * root if root > DARK else (root - DIM) / FALL


@part
def _slope(root: Any, gradient: Any) -> Any:
    """Differentiate `_cube`."""
    twice = gradient * root * root
    return gradient * (root * root) + twice + twice if root > DARK else gradient / FALL
