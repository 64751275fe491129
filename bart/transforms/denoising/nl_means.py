"""Average pixels with similar surroundings (non-local means). Group 10, denoising; no derivative.

Source: `skimage.restoration.denoise_nl_means` in its fast mode. Every pixel becomes the mean of the pixels around it, each
weighted by how similar the squares about both are:

    w(p, p + t) = exp(-d),   d = sum over o, c of (x(p + o) - x(p + t + o))^2 / (channels (h sigma patch)^2),   0 where d > 5

As in scikit-image: the sum runs over o in -r + 1 .. r, one less than the patch of 2 r + 1 by which it is divided. A patch of 6
is one of 7. exp is Schraudolph's piecewise linear one, whose exp(0), the pixel's own weight, is .971. The border is mirrored.
sigma is the noise of the image, the mean of the channels' as in `bart.transforms.denoising.wavelet` with db2, also if each
channel is denoised alone. In a constant image sigma is zero: only equal pixels are averaged, so it does not change.

Since w(p, q) = w(q, p), half of the shifts t are enough, each a few passes over flat rows. On a CPU this is compiled, one
image per thread, band by band in its cache (`bart.cpu_kernels.denoising.nl_means`). On a device it runs over the whole batch,
and each image masks the shifts beyond its own distance.

Sources: Buades, Coll, Morel, CVPR 2005; Darbon et al., ISBI 2008 (fast mode); Schraudolph, Neural Computation 1999 (exp).
"""

import numpy as np
import torch
from torch import Tensor

from bart import rng
from bart.approximate_exp import CUTOFF, approximate_exp
from bart.cpu_kernels import Image, map_images
from bart.transforms.denoising.borders import mirrored
from bart.transforms.denoising.wavelet import DB2, finest_details, noise, noise_host
from bart.types import Gradient, Params, Size, Transform

DISTANCES = (6, 11)
MARGIN = DISTANCES[1] + 3
"""The distance of the farthest pixel of the farthest patch."""
STEEPEST = 1e25
"""The value of 1 / (h sigma)^2 where sigma is zero."""
OWN = approximate_exp(torch.zeros(())).item()
"""The weight of the pixel itself."""


def draw(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    h           (n,) in .6..1.15, in units of sigma
    patch       (n,) int 5..7, pixels for any image size
    distance    (n,) int 6..11, pixels for any image size
    per_channel (n,) bool: each channel alone, or one set of weights for the three
    """
    return {
        "h": rng.uniform(keys, "h", 0.6, 1.15),
        "patch": rng.integers(keys, "patch", 5, 7),
        "distance": rng.integers(keys, "distance", *DISTANCES),
        "per_channel": rng.coin(keys, "per_channel"),
    }


def shifts(distance: int) -> list[tuple[int, int]]:
    """Return half of the shifts within `distance` on both axes, rows first: of t and -t the one further down or right."""
    return [(y, x) for y in range(distance + 1) for x in range(-distance, distance + 1) if (y, x) > (0, 0)]


def _box(d: Tensor, stride: int, wide: Tensor) -> Tensor:
    """Sum six entries `stride` apart, or the inner four where not `wide`, indexed by the first of the six."""
    two = d[..., :-stride] + d[..., stride:]
    length = d.shape[-1] - 5 * stride
    ends = d[..., :length] + d[..., 5 * stride :]
    return (two[..., stride : stride + length] + two[..., 3 * stride : 3 * stride + length]).addcmul_(ends, wide)


def _eager(padded: Tensor, scale: Tensor, radius: Tensor, distance: Tensor, joint: Tensor) -> Tensor:
    """Return the denoised inner part of `padded` (n, 3, h, w) float32, which has a margin of MARGIN.

    scale       (n,) float, 1 / (channels (h sigma patch)^2)
    radius      (n,) int 2..3, of the patch
    distance    (n,) int
    joint       (n,) bool, one set of weights for the channels
    """
    scale, wide, distance, joint = (v[:, None, None] for v in (scale, (radius - 2).float(), distance, joint.float()))
    width, values = padded.shape[-1], padded.flatten(2)
    first = 2 * width + 2  # the first pixel whose window of six is inside
    total = torch.zeros_like(values)
    weights = torch.full_like(values, OWN)
    for y, x in shifts(DISTANCES[1]):
        shift = y * width + x
        steps = values[..., shift:] - values[..., :-shift]
        squares = steps.square()
        squares = torch.lerp(squares, squares.sum(1, keepdim=True).expand_as(squares), joint)
        away = _box(_box(squares, width, wide), 1, wide) * scale
        reach = torch.where(distance >= max(y, abs(x)), CUTOFF, -1.0)
        weight = torch.where(away <= reach, approximate_exp(away.clamp_max(CUTOFF)), 0)
        length = weight.shape[-1]
        steps = weight * steps[..., first : first + length]
        for start, sign in ((first, 1), (first + shift, -1)):
            weights[..., start : start + length] += weight
            total[..., start : start + length].add_(steps, alpha=sign)
    return (values + total / weights).view_as(padded)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def _device(x: Tensor, params: Params) -> Tensor:
    """Denoise the whole batch without waiting for the device."""
    sigma = noise(x.double(), DB2).mean((1, 2, 3))
    radius, joint = torch.where(params["patch"] > 5, 3, 2), ~params["per_channel"]
    spread = (1 + 2 * joint.int()) * (params["h"] * sigma * (2 * radius + 1)).square()
    numbers = ((1 / spread).clamp_max(STEEPEST).float(), radius, params["distance"], joint)
    rows = mirrored(x.float(), 2, MARGIN, MARGIN, twice=False)
    padded = mirrored(rows, 3, MARGIN, MARGIN, twice=False)
    return _eager(padded, *numbers).to(x.dtype)


def _means_host(planes: Image, spread: float, radius: int, distance: int) -> Image:
    """Average planes (c, h, w) with one set of weights, as `_eager`; `spread` is channels (h sigma patch)^2."""
    from bart.cpu_kernels.denoising.nl_means import sums

    margin = radius + distance
    padded = np.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    values = padded.reshape(len(planes), -1)
    total, weights = sums(values, padded.shape[-1], 1 / max(spread, 1 / STEEPEST), radius, distance, OWN)
    total /= weights
    total += values
    return total.reshape(padded.shape)[:, margin:-margin, margin:-margin]


def _host(image: Image, params: dict[str, Image]) -> Image:
    """Denoise one image."""
    sigma = np.mean([noise_host(finest_details(plane.astype(np.float64), DB2)) for plane in image])
    radius = 2 if params["patch"] == 5 else 3
    spread, distance = float(params["h"] * sigma * (2 * radius + 1)) ** 2, int(params["distance"])
    if params["per_channel"]:
        return np.concatenate([_means_host(plane[None], spread, radius, distance) for plane in image])
    return _means_host(image, 3 * spread, radius, distance)


@torch.no_grad()
def apply(x: Tensor, params: Params) -> Tensor:
    """Return each pixel as the mean of those around it, weighted by how similar their surroundings are.

    x (n, 3, h, w) in [0, 1]; no gradient.
    """
    return map_images(_host, x, params) if x.device.type == "cpu" else _device(x, params)


NL_MEANS = Transform(
    "nl_means",
    "denoising",
    draw,
    apply,
    Gradient.NONE,
    {"h": 1.15, "patch": 7, "distance": 11, "per_channel": 1},
)
