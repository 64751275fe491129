"""Equalise histograms and stretch contrast. Group 8, contrast; `bart.transforms.clahe` has the third."""

import torch
from torch import Tensor

from bart import rng
from bart.autograd import clip
from bart.cpu_kernels import each
from bart.cpu_kernels.clip import fits
from bart.types import Gradient, Params, Size, Transform

GROUP = "contrast"
_MOST_BINS = 256
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
    return _equalise_host(x, params["bins"]) if fits(x) else _equalise(x, params["bins"])


def _equalise_host(x: Tensor, bins: Tensor) -> Tensor:
    """Compute the same on a CPU in float32, with compiled loops."""
    from bart.cpu_kernels.contrast import equalised

    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    planes, counts, targets = x.flatten(0, 1).flatten(1).numpy(), bins.flatten().tolist(), y.flatten(0, 1).flatten(1).numpy()
    each(lambda i: equalised(planes[i], counts[i], targets[i]), len(planes))
    return y


def draw_contrast_stretch(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    per_channel (n,) bool: each channel by its own percentiles, or the whole image by one pair, the first
    low         (n, 3) in 1..4, percentile
    high        (n, 3) in 96..99, percentile
    """
    return {
        "per_channel": rng.coin(keys, "per_channel"),
        "low": rng.uniform(keys, "low", 1.0, 4.0, (3,)),
        "high": rng.uniform(keys, "high", 96.0, 99.0, (3,)),
    }


def _picked(x: Tensor, per_channel: Tensor, ranks: Tensor) -> Tensor:
    """Return the values with the `ranks` (n, 3, m) in the order of each channel if `per_channel` (n,), else of all together."""
    alone, plane = per_channel[:, None], x.shape[2] * x.shape[3]
    values = torch.where(alone, x.flatten(2).sort(2).values.flatten(1), x.flatten(1).sort(1).values)
    start = torch.where(alone, plane * torch.arange(3, device=x.device), 0)
    return values.gather(1, (start[..., None] + ranks).flatten(1)).view(ranks.shape)


def _picked_host(x: Tensor, per_channel: Tensor, ranks: Tensor) -> Tensor:
    """Return the same on a CPU in float32, without sorting."""
    from bart.cpu_kernels.contrast import order_statistics

    found = torch.empty(ranks.shape)
    images, target, places, alone = x.detach().flatten(2).numpy(), found.numpy(), ranks.numpy(), per_channel.tolist()

    def one(i: int) -> None:
        if alone[i]:
            for values, own, wanted in zip(images[i], target[i], places[i], strict=True):
                own[:] = order_statistics(values, wanted)
        else:
            target[i] = order_statistics(images[i].reshape(-1), places[i, 0])

    each(one, len(x))
    return found


@torch.no_grad()
def percentiles(x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    """Return the `low` and the `high` percentile of each channel, (n, 3, 1, 1) each; those of the whole image are three times
    the same.

    A percentile between two ranks is interpolated, in double precision up to there. Source: `numpy.percentile`, linear.
    """
    per_channel, plane = params["per_channel"], x.shape[2] * x.shape[3]
    alone = per_channel[:, None, None]
    last = torch.where(alone, plane - 1, 3 * plane - 1)
    percents = torch.stack([params["low"], params["high"]], dim=2)
    rank = torch.where(alone, percents, percents[:, :1]).double() / 100 * last
    below = rank.long()
    pick = _picked_host if fits(x) else _picked
    here, there = pick(x, per_channel, torch.cat([below, (below + 1).minimum(last)], dim=2)).split(2, dim=2)
    low, high = torch.lerp(here, there, (rank - below).to(x.dtype))[..., None, None].unbind(2)
    return low, high


def stretch(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Map `low`..`high` (n, 3, 1, 1) to 0..1 and clip values outside. Source: `skimage.exposure.rescale_intensity`.

    A channel without contrast, whose bounds are the same up to rounding, becomes the constant `low`, as in the source. Given
    the bounds, a constant depends on no pixel, so its derivative is 0 and not the limit of 1 / (high - low), which is infinite.
    """
    span = high - low
    still = span < _LEAST_SPAN
    constant = low.masked_fill(~still, 0)
    return clip(x, low, high).sub_(low).div_(span.masked_fill(still, torch.inf)).add_(constant)


def apply_contrast_stretch(x: Tensor, params: Params) -> Tensor:
    """Map the `low` and `high` percentiles to 0 and 1: of each channel, or those of the whole image for the three channels.

    The gradient is exact given the percentiles, which count as constants. In an image of 8-bit values that is the partial
    derivative itself: many pixels share the value at a percentile's rank, so moving one of them does not move the percentile.
    That holds for a constant channel too, where no pixel alone changes anything; see `stretch`.
    """
    return stretch(x, *percentiles(x, params))


HIST_EQ = Transform("hist_eq", GROUP, draw_hist_eq, apply_hist_eq, Gradient.NONE, {"bins": _MOST_BINS})
CONTRAST_STRETCH = Transform(
    "contrast_stretch",
    GROUP,
    draw_contrast_stretch,
    apply_contrast_stretch,
    Gradient.EXACT,
    {"per_channel": 1, "low": 4, "high": 99},
    version=2,
)
