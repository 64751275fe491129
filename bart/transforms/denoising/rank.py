"""Filter by ranks and means over a disk: median, mean and bilateral mean, on 8-bit levels. Group 10, denoising.

The image is rounded to 8 bits. The window of a pixel is the part of the disk around it that is inside the image. Everything is
exact in integers, so every device gives the same levels. Source: `skimage.filters.rank`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart import rng
from bart.cpu_kernels import Image, map_images
from bart.cpu_kernels import each as each_plane
from bart.cpu_kernels.clip import fits
from bart.transforms.denoising.disks import Disks, Offset, each, orders
from bart.types import Gradient, Params, Size, Transform

GROUP = "denoising"
MEDIAN_RADII, MEAN_RADII, BILATERAL_RADII = (2, 5), (2, 3), (2, 20)
SPREADS = (5, 20)
AT_ONCE = 255 // (2 * SPREADS[1] - 2)
"""How many levels of a bilateral window, counted from its lowest, can be added in 8 bits."""


def _count(disks: Disks, compare: Callable[..., Tensor], line: Tensor, reference: Tensor) -> Tensor:
    """Return how many pixels of each disk compare with the reference (m, length), as uint8: enough for a radius of 8."""
    hits = torch.empty_like(reference, dtype=torch.bool)

    def tally(total: Tensor, offsets: list[Offset]) -> None:
        pixels, hit, limit = (tensor[: len(total)] for tensor in (line, hits, reference))
        for offset in offsets:
            compare(disks.at(pixels, offset), limit, out=hit)
            total.add_(hit.view(torch.uint8))

    return disks.total(torch.zeros_like(reference, dtype=torch.uint8), tally)


def _median(disks: Disks, levels: Tensor) -> Tensor:
    """Return the element number floor(population / 2) of each sorted disk, uint8 in and out.

    It is found bit by bit, as the largest level with at most that many elements below it. About (16 x largest disk) launches.
    """
    line = disks.line(levels, outside=255)  # below no candidate
    rank = disks.center((disks.population() * 0.5).byte())
    median = torch.zeros_like(rank)
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        below = _count(disks, torch.lt, line, median + bit)
        median.add_((below <= rank).view(torch.uint8), alpha=bit)
    return disks.crop(median)


def _median_backward(disks: Disks, levels: Tensor, median: Tensor, gradient: Tensor) -> Tensor:
    """Divide each output's gradient equally among the pixels of its disk that have the median's level.

    This is a gather over the same disk, since q is in the disk of p when p is in that of q: no atomic adds, a fixed order.
    """
    center = disks.center(median.short())
    ties = disks.crop(_count(disks, torch.eq, disks.line(levels.short(), outside=-1), center))
    shares, medians = disks.line(gradient / ties), disks.line(median.to(gradient.dtype))
    own = disks.center(levels.to(gradient.dtype))
    hits = torch.empty_like(own)

    def tally(total: Tensor, offsets: list[Offset]) -> None:
        selected, share, level, hit = (tensor[: len(total)] for tensor in (medians, shares, own, hits))
        for offset in offsets:
            torch.eq(disks.at(selected, offset), level, out=hit)
            total.addcmul_(hit, disks.at(share, offset))

    return disks.crop(disks.total(torch.zeros_like(own), tally))


def _mean(disks: Disks, levels: Tensor) -> Tensor:
    """Return the mean of each disk, rounded down. uint8 in and out."""
    total = disks.crop(_sum(disks, disks.line(levels.short())))
    return ((total + 0.5) / disks.population()).byte()  # the half protects a whole mean from its own rounding


def _mean_backward(disks: Disks, gradient: Tensor) -> Tensor:
    """Return the transpose of the unrounded mean: a disk is symmetric, so it is a sum over the same disk."""
    return disks.crop(_sum(disks, disks.line(gradient / disks.population())))


def _sum(disks: Disks, line: Tensor) -> Tensor:
    """Return the sum over each disk."""

    def tally(total: Tensor, offsets: list[Offset]) -> None:
        for offset in offsets:
            total.add_(disks.at(line[: len(total)], offset))

    return disks.total(line.new_zeros(len(line), disks.length), tally)


def _window_sums(disks: Disks, line: Tensor, lows: Tensor, spans: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of level - low over the pixels of each disk with levels in low..low + span, and their number."""
    aboves, keeps = torch.empty_like(lows), torch.empty_like(lows, dtype=torch.bool)
    parts = lows.new_empty(2, *lows.shape)

    def tally(total: Tensor, offsets: list[Offset]) -> None:
        k = total.shape[1]
        level, low, span, above, keep, part = line[:k], lows[:k], spans[:k], aboves[:k], keeps[:k], parts[:, :k]
        for i in range(0, len(offsets), AT_ONCE):
            part.zero_()
            for offset in offsets[i : i + AT_ONCE]:
                torch.sub(disks.at(level, offset), low, out=above)  # modulo 256: a level below low becomes one above low + span
                torch.le(above, span, out=keep)
                part[0].add_(above.mul_(keep.view(torch.uint8)))
                part[1].add_(keep.view(torch.uint8))
            total.add_(part)

    excess, count = disks.total(lows.new_zeros(parts.shape, dtype=torch.int16), tally)
    return disks.crop(excess).int() & 0xFFFF, disks.crop(count).int()  # sums of up to 47766, added modulo 65536


def _mean_bilateral(disks: Disks, s0: Tensor, s1: Tensor, levels: Tensor) -> Tensor:
    """Return the mean of those levels v of each disk with g - s1 < v < g + s0, rounded down. g is the center's level.

    uint8 in and out; s0, s1 (m,) integers. About (5 x largest disk) launches and passes over the planes.
    """
    center = levels.short()
    low = (center - s1[:, None, None].short() + 1).clamp_min(0)
    span = (center + s0[:, None, None].short() - 1).clamp_max(255) - low
    excess, count = _window_sums(disks, disks.line(levels), disks.center(low.byte()), disks.center(span.byte()))
    outside = disks.size()[:, None, None] - disks.population()  # has level 0: in windows from 0, it was counted
    count -= ((low == 0) * outside).int()
    return (low + torch.div(excess, count, rounding_mode="floor")).byte()


def _levels(x: Tensor) -> Tensor:
    """Return images (n, 3, h, w) in [0, 1] as planes of 8-bit levels (3 n, h, w), rounded half to even as in scikit-image."""
    return (x.detach().clamp(0, 1) * 255).round().byte().flatten(0, 1)


def _image(levels: Tensor, x: Tensor) -> Tensor:
    """Return planes of levels as images like `x`."""
    return (levels.to(x.dtype) / 255).view(x.shape)


def _by_plane(
    function: Callable[..., Any], dtype: torch.dtype, results: int, disks: Sequence[Any], *planes: Tensor
) -> list[Tensor]:
    """Return the results, planes of `dtype` (m, h, w) each, of a compiled `function(disk, *planes)` for each plane."""
    found = [torch.empty_like(planes[0], dtype=dtype) for _ in range(results)]
    sources, targets = ([stack.detach().numpy() for stack in stacks] for stacks in (planes, found))

    def one(i: int) -> None:
        for target, result in zip(targets, function(disks[i], *(source[i] for source in sources)), strict=True):
            target[i] = result

    each_plane(one, len(disks))
    return found


class _Median(torch.autograd.Function):
    """Compute the median of planes, with the surrogate gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: Tensor) -> Tensor:
        if fits(x):
            from bart.cpu_kernels.denoising import rank as kernels

            levels, median = _by_plane(kernels.median, torch.uint8, 2, radius.tolist(), x.flatten(0, 1))
        else:
            levels = _levels(x)
            median = each(_median, radius, MEDIAN_RADII, levels)
        ctx.save_for_backward(levels, median, radius)
        return _image(median, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        levels, median, radius = ctx.saved_tensors
        planes = (levels, median, gradient.flatten(0, 1))
        if fits(gradient):
            from bart.cpu_kernels.denoising import rank as kernels

            offsets = orders(radius, (gradient.shape[-2], gradient.shape[-1]))
            (shares,) = _by_plane(kernels.median_backward, torch.float32, 1, offsets, *planes)
        else:
            shares = each(_median_backward, radius, MEDIAN_RADII, *planes)
        return shares.view(gradient.shape), None


class _Mean(torch.autograd.Function):
    """Compute the mean of planes, with the gradient of the unrounded mean."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: Tensor) -> Tensor:
        ctx.save_for_backward(radius)
        if fits(x):
            from bart.cpu_kernels.denoising import rank as kernels

            (mean,) = _by_plane(kernels.mean, torch.uint8, 1, radius.tolist(), x.flatten(0, 1))
        else:
            mean = each(_mean, radius, MEAN_RADII, _levels(x))
        return _image(mean, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (radius,) = ctx.saved_tensors
        planes = gradient.flatten(0, 1)
        if fits(gradient):
            from bart.cpu_kernels.denoising import rank as kernels

            (sums,) = _by_plane(
                kernels.mean_backward, torch.float32, 1, orders(radius, (planes.shape[-2], planes.shape[-1])), planes
            )
        else:
            sums = each(_mean_backward, radius, MEAN_RADII, planes)
        return sums.view(gradient.shape), None


def _radius(keys: Tensor, low: int, high: int) -> Params:
    """Return radii (n, 3) in low..high; a shared coin gives the three channels one value."""
    radius = rng.integers(keys, "radius", low, high, (3,))
    return {"radius": torch.where(rng.coin(keys, "shared")[:, None], radius[:, :1], radius)}


def draw_median(keys: Tensor, size: Size) -> Params:
    """Return `radius` (n, 3) int 2..5 pixels, for any image size, one key an image.

    A shared coin gives the three channels one value.
    """
    return _radius(keys, *MEDIAN_RADII)


def apply_median(x: Tensor, params: Params) -> Tensor:
    """Return the median of each disk, the upper one of an even number. x (n, 3, h, w).

    The surrogate gradient goes to the pixels of the selected level, in equal shares, and ignores the rounding to 8 bits.
    """
    return _Median.apply(x, params["radius"].reshape(-1))


def draw_mean(keys: Tensor, size: Size) -> Params:
    """Return `radius` (n, 3) int 2..3 pixels, for any image size, one key an image.

    A shared coin gives the three channels one value.
    """
    return _radius(keys, *MEAN_RADII)


def apply_mean(x: Tensor, params: Params) -> Tensor:
    """Return the mean of each disk, rounded down to 8 bits. x (n, 3, h, w).

    The gradient is the unrounded mean's. It is exact except for the steps of 1/255, whose own derivative is zero; so it counts
    as a surrogate.
    """
    return _Mean.apply(x, params["radius"].reshape(-1))


def draw_mean_bilateral(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    radius  (n, 3) int 2..20 pixels, for any image size
    s0, s1  (n, 3) int 5..20 grey levels
    """
    ranges = {"radius": BILATERAL_RADII, "s0": SPREADS, "s1": SPREADS}
    return {name: rng.integers(keys, name, *ends, (3,)) for name, ends in ranges.items()}


@torch.no_grad()
def apply_mean_bilateral(x: Tensor, params: Params) -> Tensor:
    """Return the mean of those levels v of each disk with g - s1 < v < g + s0. g is the pixel's own level; no gradient."""
    if x.device.type == "cpu":
        return map_images(_mean_bilateral_host, x, params)
    return _mean_bilateral_device(x, params)


def _mean_bilateral_device(x: Tensor, params: Params) -> Tensor:
    """Filter the whole batch without waiting for the device."""
    levels = _levels(x)
    radius, s0, s1 = (params[name].reshape(-1) for name in ("radius", "s0", "s1"))
    return _image(each(_mean_bilateral, radius, BILATERAL_RADII, s0, s1, levels), x)


def _mean_bilateral_host(image: Image, params: dict[str, Image]) -> Image:
    """Filter one image."""
    from bart.cpu_kernels.denoising.bilateral import mean_bilateral

    levels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    values = zip(levels, params["radius"], params["s0"], params["s1"], strict=True)
    planes = [mean_bilateral(plane, int(radius), int(s0), int(s1)) for plane, radius, s0, s1 in values]
    return np.stack(planes).astype(np.float32) / 255


MEDIAN = Transform("median", GROUP, draw_median, apply_median, Gradient.SURROGATE, {"radius": 5})
MEAN = Transform("mean", GROUP, draw_mean, apply_mean, Gradient.SURROGATE, {"radius": 3})
MEAN_BILATERAL = Transform(
    "mean_bilateral",
    GROUP,
    draw_mean_bilateral,
    apply_mean_bilateral,
    Gradient.NONE,
    {"radius": 20, "s0": 20, "s1": 20},
)
