"""Equalise histograms and stretch contrast channel by channel. Group 8, contrast; `bart.transforms.clahe` has the third."""

import math

import numpy as np
import torch
from torch import Tensor

from bart import rng
from bart.autograd import clip
from bart.cpu_kernels import map_images
from bart.types import Gradient, Params, Size, Transform

GROUP = "contrast"
_MOST_BINS = 256
_IMAGES_IN_CACHE = 4  # images that a CPU works on at a time
_LEAST_SPAN = 1e-6  # a narrower contrast is float32 rounding of a constant channel; stretching it would show only noise


def draw_hist_eq(keys: Tensor, size: Size) -> Params:
    """Return `bins` (n, 3) int in 40..256, one key an image."""
    return {"bins": rng.integers(keys, "bins", 40, _MOST_BINS, (3,))}


def _equalise(x: Tensor, bins: Tensor) -> Tensor:
    """Map each channel of `x` (n, 3, h, w) by its own cumulative histogram of `bins` (n, 3) bins."""
    values, bins = x.flatten(2), bins[:, :, None]
    low, high = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    half = 0.5 * (low == high)
    # In double precision a value on the edge of two bins goes to the same bin as in NumPy.
    low, high = low.double() - half, high.double() + half
    position = (values - low).mul_(bins / (high - low))  # in bins from the lower end

    index = torch.minimum(position.long(), bins - 1)
    one = torch.ones((), dtype=torch.int32, device=x.device).expand_as(index)
    counts = torch.zeros(*index.shape[:2], _MOST_BINS, dtype=torch.int32, device=x.device).scatter_add_(2, index, one)
    cdf = counts.cumsum(2).to(x.dtype) / values.shape[2]
    slope = torch.nn.functional.pad(cdf.diff(dim=2), (0, 1))

    position = torch.minimum(position.sub_(0.5).clamp_(min=0), bins - 1)  # in bins from the first bin's centre
    index = position.long()
    within = position.sub_(index).to(x.dtype)
    return cdf.gather(2, index).addcmul_(slope.gather(2, index), within).view_as(x)


@torch.no_grad()
def apply_hist_eq(x: Tensor, params: Params) -> Tensor:
    """Map each channel by its cumulative histogram, interpolated between the bins' centres. No derivative.

    Source: `skimage.exposure.equalize_hist`. The histogram spans the channel's own range. That of a constant channel spans its
    value +- 0.5, as in `numpy.histogram`.
    """
    if x.device.type != "cpu":
        return _equalise(x, params["bins"])
    batches = zip(torch.split(x, _IMAGES_IN_CACHE), torch.split(params["bins"], _IMAGES_IN_CACHE), strict=True)
    return torch.cat([_equalise(*batch) for batch in batches])


def draw_contrast_stretch(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    on      (n, 3) coins: which channels are stretched
    low     (n, 3) int in 1..4, percentile
    high    (n, 3) int in 96..99, percentile
    """
    return {
        "on": rng.coin(keys, "on", (3,)),
        "low": rng.integers(keys, "low", 1, 4, (3,)),
        "high": rng.integers(keys, "high", 96, 99, (3,)),
    }


def _tails(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` smallest values of each channel, ascending, and the `count` largest, descending: (n, 3, count)."""
    values = x.flatten(2)
    return values.topk(count, dim=2, largest=False).values, values.topk(count, dim=2).values


def _tails_host(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the same on a CPU in float32, where NumPy's vectorised sort of everything is faster than a partial sort."""
    ordered = map_images(lambda image, _: np.sort(image.reshape(3, -1), axis=1).reshape(image.shape), x, {}).flatten(2)
    return ordered[..., :count], ordered[..., -count:].flip(2)


def _between(ordered: Tensor, rank: Tensor, step: int, fraction: Tensor) -> Tensor:
    """Return the value `fraction` of the way from rank `rank` to the next value, which is `step` further in `ordered`."""
    here, there = ordered.gather(2, rank), ordered.gather(2, rank + step)
    return torch.lerp(here, there, fraction.to(ordered.dtype))


@torch.no_grad()
def percentiles(x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    """Return the `low` and the `high` percentile of each channel, (n, 3, 1, 1) each. Source: `numpy.percentile`, linear."""
    last = x.shape[2] * x.shape[3] - 1
    deepest = last * 4 // 100 + 2  # tails of this length hold every percentile of the ranges
    fast = x.device.type == "cpu" and x.dtype is torch.float32
    smallest, largest = (_tails_host if fast else _tails)(x, deepest)
    low, high = last * params["low"][..., None], last * params["high"][..., None]  # ranks in hundredths
    bottom = _between(smallest, low // 100, 1, (low % 100) / 100)
    top = _between(largest, last - high // 100, -1, (high % 100) / 100)
    return bottom[..., None], top[..., None]


def stretch(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Map `low`..`high` to 0..1 and clip values outside. Source: `skimage.exposure.rescale_intensity`.

    A channel without contrast becomes the constant `low`, as in the source. One with bounds from -inf to inf stays unchanged.
    """
    span = high - low
    still = (span < _LEAST_SPAN) | span.isinf()
    return clip(x, low, high).sub_(low.masked_fill(still, 0)).div_(span.masked_fill(still, 1))


def apply_contrast_stretch(x: Tensor, params: Params) -> Tensor:
    """Map the `low` and `high` percentiles of the channels that are `on` to 0 and 1; leave the others unchanged.

    The gradient is exact given the percentiles, which count as constants. In an image of 8-bit values that is the partial
    derivative itself: many pixels share the value at a percentile's rank, so moving one of them does not move the percentile.
    """
    low, high = percentiles(x, params)
    off = ~params["on"][:, :, None, None]
    return stretch(x, low.masked_fill(off, -math.inf), high.masked_fill(off, math.inf))


HIST_EQ = Transform("hist_eq", GROUP, draw_hist_eq, apply_hist_eq, Gradient.NONE, {"bins": _MOST_BINS})
CONTRAST_STRETCH = Transform(
    "contrast_stretch",
    GROUP,
    draw_contrast_stretch,
    apply_contrast_stretch,
    Gradient.EXACT,
    {"on": 1, "low": 4, "high": 99},
)
