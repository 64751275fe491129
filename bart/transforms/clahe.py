"""Equalise by contrast limited adaptive histogram equalisation (CLAHE): each channel, or the value of HSV. Group 8, contrast;
no derivative.

A plane is divided into tiles. Each tile has a histogram whose bins are clipped; the counts above the limit are spread over the
other bins. Its cumulative histogram maps grey levels. A pixel goes through the maps of the four nearest tiles, which are
interpolated. Source: `skimage.exposure.equalize_adapthist` with its 256 bins, the order of spreading included. Given a colour
image, it equalises the value of HSV, the largest channel of a pixel, and keeps hue and saturation.

Shapes here: p planes (channels or values of images, each with its own parameters) of h x w pixels, each with t tiles. t is
large enough for the smallest tiles; planes with larger tiles use a part of it.
"""

import torch
from torch import Tensor

from bart import rng
from bart.cpu_kernels import each
from bart.cpu_kernels.clip import fits
from bart.types import REFERENCE, Gradient, Params, Size, Transform

_GREYS = 2**14 - 1
_BINS = 256
_GREYS_PER_BIN = 65  # scikit-image's 1 + 2**14 // 256, so the last three bins get no pixel
_ROUNDS = 8  # rounds of spreading; photographs and two-level images need at most 5


def _tile_sides(size: Size) -> tuple[int, int]:
    """Return the smallest and the largest side of a tile, in pixels: at least 1."""
    return max(1, min(size) // 10), max(1, min(size) // 6)


def _tiles(side: int, size: Size) -> int:
    """Return the most tiles along `side`, padded to whole tiles and by the part of another tile."""
    smallest, largest = _tile_sides(size)
    return (side + largest - 2) // smallest + 1


def draw(keys: Tensor, size: Size) -> Params:
    """Return the parameters of images of `size`, one key an image.

    per_channel (n,) bool: each channel alone, or the value of HSV with the parameters of the first channel
    tile_height, tile_width   (n, 3) int, pixels: from a tenth to a sixth of the image's shorter side, rounded down, at least 1
    clip_limit  (n, 3) in 0.01..0.04: the limit of a bin as a fraction of the tile's area
    """
    smallest, largest = _tile_sides(size)
    return {
        "per_channel": rng.coin(keys, "per_channel"),
        "tile_height": rng.integers(keys, "tile_height", smallest, largest, (3,)),
        "tile_width": rng.integers(keys, "tile_width", smallest, largest, (3,)),
        "clip_limit": rng.uniform(keys, "clip_limit", 0.01, 0.04, (3,)),
    }


def _rescale(planes: Tensor, top: int) -> Tensor:
    """Stretch the range of each plane of integers to 0..top; clip a constant plane.

    Source: `skimage.exposure.rescale_intensity`.
    """
    low, high = planes.amin((1, 2), keepdim=True), planes.amax((1, 2), keepdim=True)
    return torch.where(high > low, (planes - low) / (high - low).clamp(min=1) * top, planes.clamp(max=top))


def _histograms(bins: Tensor, tile: Tensor) -> Tensor:
    """Return the counts (p, t, 256) of `bins` (p, h, w) float, in tiles with the sides `tile` (p, 2).

    The last tile of a row or column is completed with the mirrored image. Mirrored pixels beyond it are counted in one more
    tile, which is never read.
    """
    size = (bins.shape[1], bins.shape[2])
    beyond = _tile_sides(size)[1] - 1
    bins = torch.nn.functional.pad(bins[:, None], (0, beyond, 0, beyond), mode="reflect")[:, 0]
    row = torch.arange(bins.shape[1], device=bins.device)[:, None] // tile[:, 0, None, None]
    column = torch.arange(bins.shape[2], device=bins.device) // tile[:, 1, None, None]
    down, across = (_tiles(side, size) for side in size)
    index = ((row * across + column) * _BINS + bins.long()).flatten(1)
    one = torch.ones((), dtype=torch.int32, device=bins.device).expand_as(index)
    counts = torch.zeros(len(bins), down * across * _BINS, dtype=torch.int32, device=bins.device)
    return counts.scatter_add_(1, index, one).view(len(bins), down * across, _BINS)


def _clip(counts: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Return histograms (p, t, 256) clipped at `limit` (p, 1, 1), and the counts (p, t, 1) that remain after equal shares."""

    def total(values: Tensor) -> Tensor:
        return values.sum(2, keepdim=True, dtype=torch.int32)

    excess = total((counts - limit).clamp(min=0))
    share = excess // _BINS
    counts = torch.minimum(counts, limit)
    low = counts < limit - share
    counts = counts + share * low
    excess = excess - share * total(low)
    nearly = counts >= limit - share  # filled up from the excess, which may become negative
    return torch.where(nearly, limit, counts), excess - total((limit - counts) * nearly)


def _spread(counts: Tensor, excess: Tensor, limit: Tensor) -> Tensor:
    """Add one count each to the bins below the limit until the excess is used up: in round i from bin i, at even distances."""
    bin_ = torch.arange(_BINS, dtype=torch.int32, device=counts.device)
    for i in range(_ROUNDS):
        open_ = counts < limit
        distance = (open_.sum(2, keepdim=True, dtype=torch.int32) // excess.clamp(min=1)).clamp_(min=1)
        hit = open_ & (bin_ >= i) & ((bin_ - i) % distance == 0) & (excess > 0)
        counts = counts + hit
        excess = excess - hit.sum(2, keepdim=True, dtype=torch.int32)
    return counts


def _neighbours(side: int, tile: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for tiles of `tile` (p,) px along `side`, the tiles before and after each pixel.

    The third result is how far the pixel is from one centre to the other, in 0..1.
    """
    length = tile[:, None]
    position = torch.arange(side, device=tile.device) + length // 2
    last = (side + length - 1) // length - 1
    after = position // length
    return (after - 1).clamp_(min=0).minimum(last), after.minimum(last), (position % length) / length


def _interpolate(maps: Tensor, bins: Tensor, tile: Tensor) -> Tensor:
    """Map each pixel of `bins` (p, h, w) by the `maps` (p, t, 256) of the four tiles whose centres surround it.

    The interpolation keeps four equal values exactly. A sum of weighted values would change the last digit of a constant
    channel, and the final rescaling would turn that into black and white.
    """
    size = (bins.shape[1], bins.shape[2])
    above, below, down = _neighbours(size[0], tile[:, 0])
    left, right, along = _neighbours(size[1], tile[:, 1])
    across, flat, bins = _tiles(size[1], size), maps.flatten(1), bins.long()

    def row_of_tiles(row: Tensor) -> Tensor:
        first, second = (
            flat.gather(1, ((row[:, :, None] * across + column[:, None, :]).mul_(_BINS) + bins).flatten(1)).view_as(bins)
            for column in (left, right)
        )
        return first.lerp_(second, along[:, None, :].expand_as(first))

    return row_of_tiles(above).lerp_(row_of_tiles(below), down[:, :, None].expand_as(bins))


def _equalise(planes: Tensor, tile: Tensor, clip_limit: Tensor) -> Tensor:
    """Return CLAHE of `planes` (p, h, w) in [0, 1] with tiles (p, 2) and clip limits (p,)."""
    greys = _rescale((planes * (2**16 - 1)).round().float(), _GREYS).round_()
    bins = (greys / _GREYS_PER_BIN).floor_()
    area = tile.prod(1)[:, None, None]
    limit = (clip_limit[:, None, None] * area).int().clamp_(min=1)
    counts = _spread(*_clip(_histograms(bins, tile), limit), limit)
    maps = (counts.cumsum(2) * (_GREYS / area)).clamp_(max=_GREYS).floor_()
    return _rescale(_interpolate(maps, bins, tile).floor_(), 1).to(planes.dtype)


def _coloured(x: Tensor, value: Tensor, equalised: Tensor) -> Tensor:
    """Return images (n, 3, h, w) with another `value` of HSV, (n, 1, h, w); hue and saturation stay, black becomes grey."""
    return torch.where(value > 0, x / value, 1) * equalised


def _host(x: Tensor, tile: Tensor, params: Params) -> Tensor:
    """Equalise images on a CPU in float32, with compiled loops; no plane that is not needed. `tile` is (n, 3, 2)."""
    from bart.cpu_kernels.clahe import clahe

    limits = (params["clip_limit"] * tile.prod(2)).int().clamp_(min=1)
    tiles, alone = torch.cat([tile, limits[..., None]], dim=2).tolist(), params["per_channel"].tolist()
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    sources, targets = x.contiguous().numpy(), y.numpy()
    each(lambda i: clahe(sources[i], tiles[i], alone[i], _GREYS, _GREYS_PER_BIN, targets[i]), len(x))
    return y


@torch.no_grad()
def apply(x: Tensor, params: Params) -> Tensor:
    """Equalise each channel, or the value of HSV. x (n, 3, h, w) in [0, 1]; no derivative."""
    x, tile = x.detach(), torch.stack([params["tile_height"], params["tile_width"]], dim=-1)
    if fits(x):
        return _host(x, tile, params)
    per_channel = params["per_channel"][:, None, None, None]
    value = x.amax(1, keepdim=True)
    planes = torch.where(per_channel, x, value).flatten(0, 1)
    equalised = _equalise(planes, tile.flatten(0, 1), params["clip_limit"].flatten()).view_as(x)
    return torch.where(per_channel, equalised, _coloured(x, value, equalised[:, :1]))


CLAHE = Transform(
    "clahe",
    "contrast",
    draw,
    apply,
    Gradient.NONE,
    {"per_channel": 1, "tile_height": REFERENCE / 6, "tile_width": REFERENCE / 6, "clip_limit": 0.04},
    frozenset({"tile_height", "tile_width"}),
    version=2,
)
