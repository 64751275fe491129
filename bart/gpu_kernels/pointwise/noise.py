"""Add the six kinds of noise to values: each image has one kind, and only that is computed.

The backward pass computes the same noise again from the image and its seed, so that only the image is kept.
"""

import math

import triton
import triton.language as tl

from bart.gpu_kernels.common.fields import field
from bart.transforms import noise as eager

_GAUSSIAN, _POISSON, _SALT, _PEPPER, _BOTH, _SPECKLE = (tl.constexpr(i) for i in range(len(eager.KINDS)))
_DEVIATION, _AMOUNT, _LEVELS = tl.constexpr(eager.DEVIATION), tl.constexpr(eager.AMOUNT), tl.constexpr(eager.LEVELS)
_EXACT_COUNTS = tl.constexpr(eager.EXACT_COUNTS)
_ROOT_2 = tl.constexpr(math.sqrt(2))


@triton.jit
def _erfinv(x):
    """Return the inverse error function for |x| < 1, within 4e-7 relative.

    Source: M. Giles, Approximating the erfinv function, 2012, in single precision.
    """
    w = -tl.log((1.0 - x) * (1.0 + x))
    near = w - 2.5
    center = 2.81022636e-08 * near + 3.43273939e-07
    center = center * near - 3.5233877e-06
    center = center * near - 4.39150654e-06
    center = center * near + 0.00021858087
    center = center * near - 0.00125372503
    center = center * near - 0.00417768164
    center = center * near + 0.246640727
    center = center * near + 1.50140941
    far = tl.sqrt(tl.maximum(w, 5.0)) - 3.0
    tail = -0.000200214257 * far + 0.000100950558
    tail = tail * far + 0.00134934322
    tail = tail * far - 0.00367342844
    tail = tail * far + 0.00573950773
    tail = tail * far - 0.0076224613
    tail = tail * far + 0.00943887047
    tail = tail * far + 1.00167406
    tail = tail * far + 2.83297682
    return tl.where(w < 5.0, center, tail) * x


@triton.jit
def _normal(uniform):
    """Return N(0, 1) from multiples of 2^-24 in [0, 1), each taken at the middle of its interval."""
    return _erfinv(uniform * 2.0 - (1 - 2.0**-24)) * _ROOT_2


@triton.jit
def _poisson(mean, uniform, normal):
    """Return Poisson counts by inversion, as `bart.transforms.noise.poisson`."""
    root = tl.sqrt(tl.maximum(mean, 1.0))
    square = normal * normal
    quantile = (root - (square + 2.0) / root * (1 / 72)) * normal + root * root + square * (1 / 6) + 1 / 3

    term = tl.exp(-tl.minimum(mean, 80.0))
    cumulative = term
    count = (uniform > cumulative).to(tl.float32)
    for k in tl.static_range(1, _EXACT_COUNTS):
        term *= mean * (1 / k)
        cumulative += term
        count += (uniform > cumulative).to(tl.float32)
    return tl.where(count < _EXACT_COUNTS, count, tl.maximum(tl.floor(quantile), _EXACT_COUNTS))


@triton.jit
def _noisy(x, kind, uniform):
    """Return the noisy values before they are clipped, and their derivative."""
    value, slope = x, tl.full(x.shape, 1.0, tl.float32)
    if kind == _POISSON:
        value = _poisson(x * _LEVELS, uniform + 2.0**-25, _normal(uniform)) * (1 / _LEVELS)
    elif kind == _GAUSSIAN:
        value = x + _normal(uniform) * _DEVIATION
    elif kind == _SPECKLE:
        slope = _normal(uniform) * _DEVIATION + 1.0
        value = x * slope
    else:
        black = tl.where(kind == _PEPPER, _AMOUNT, tl.where(kind == _BOTH, _AMOUNT / 2, 0.0))
        replaced = uniform < _AMOUNT
        value = tl.where(replaced, tl.where(uniform >= black, 1.0, 0.0), x)
        slope = tl.where(replaced, 0.0, 1.0)
    return value, slope


@triton.jit
def noisy(x, kind, seed, place):
    """Return values with the noise of a kind at places of an image, clipped to [0, 1]."""
    value, _ = _noisy(x, kind, field(seed, 0, place))
    return tl.minimum(tl.maximum(value, 0.0), 1.0)


@triton.jit
def noisy_backward(x, gradient, kind, seed, place):
    """Return the gradient of `noisy` in x, zero where the noise left [0, 1]."""
    value, slope = _noisy(x, kind, field(seed, 0, place))
    return tl.where((value >= 0.0) & (value <= 1.0), gradient * slope, 0.0)
