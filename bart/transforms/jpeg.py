"""Encode and decode images as JPEG at a random quality with 4:2:0 chroma, exactly as libjpeg, on values 0..255. Group 2, JPEG.

The forward pass rounds wherever libjpeg keeps integers, also between the two passes of its DCT: without that rounding, enough
quantised coefficients would change to be visible. The backward pass takes the derivative of every rounding, and of the range
limits between, as 1 (straight-through). Without rounding the DCT and its inverse cancel, so the gradient is that of halving
and restoring the chroma's resolution.

Sources: ITU-T T.81 annex K (tables); libjpeg (colour in units of 2^-16, scaling of the tables by quality, padding, "islow"
DCT, "fancy" upsampling).
"""

from functools import lru_cache

import torch
from torch import Tensor

from bart import rng
from bart.autograd import clip, straight_through
from bart.cpu_kernels import each
from bart.cpu_kernels.clip import fits
from bart.transforms.color import Rows, constant, mix
from bart.types import Gradient, Params, Size, Transform

ONE = 65536
YCC_FROM_RGB: Rows = (
    (19595 / ONE, 38470 / ONE, 7471 / ONE),
    (-11059 / ONE, -21709 / ONE, 0.5),
    (0.5, -27439 / ONE, -5329 / ONE),
)
RGB_FROM_YCC: Rows = ((1.0, 0.0, 91881 / ONE), (1.0, -22554 / ONE, -46802 / ONE), (1.0, 116130 / ONE, 0.0))

# fmt: off
LUMA = (
    16.0, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87,
    80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92,
    95, 98, 112, 100, 103, 99,
)
CHROMA = (
    17.0, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99,
    99, 99, *(99.0,) * 32,
)
DCT = (
    (8192, 8192, 8192, 8192), (11363, 9633, 6437, 2260), (10703, 4433, -4433, -10703), (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192), (6437, -11362, 2261, 9633), (4433, -10704, 10704, -4433), (2260, -6436, 9633, -11363),
)
"""Cosines in units of 2^-13 with libjpeg's own rounding, of the first four samples for each of the eight frequencies."""
# fmt: on


def draw(keys: Tensor, size: Size) -> Params:
    """Return `quality` (n,) int 55..95 on the scale of the Independent JPEG Group, one key an image."""
    return {"quality": rng.integers(keys, "quality", 55, 95)}


@lru_cache(maxsize=64)
def _dct(scale: float, count: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the DCT of `count` runs of 8 samples, (8 count frequencies, 8 count samples).

    With `scale` 1 frequency 0 is a sum.
    """
    with torch.inference_mode(False):
        half = torch.tensor(DCT, dtype=torch.double, device="cpu") * (scale / 8192)
        mirrored = half.flip(1) * half.new_tensor([1, -1]).repeat(4)[:, None]
        runs = torch.eye(count, dtype=torch.double, device="cpu")
        return torch.kron(runs, torch.cat([half, mirrored], dim=1)).to(device, dtype)


def _steps(standard: tuple[float, ...], quality: Tensor, like: Tensor) -> Tensor:
    """Return the quantisation steps (n, 8, 8), scaled and rounded as by `jpeg_set_quality`, for quality >= 50."""
    table = constant(standard, False, like.device, like.dtype)
    scaled = table * (200 - 2 * quality[:, None]).to(like.dtype)
    return ((scaled + 50) / 100).floor_().clamp_min_(1).view(-1, 8, 8)


def _pad(x: Tensor, vertical: int, horizontal: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples of `vertical` and `horizontal`."""
    down, right = -x.shape[-2] % vertical, -x.shape[-1] % horizontal
    if down:
        x = torch.cat([x, x[..., -1:, :].expand(-1, -1, down, -1)], dim=2)
    return torch.cat([x, x[..., -1:].expand(-1, -1, -1, right)], dim=3) if right else x


def _round(x: Tensor) -> Tensor:
    """Round in place; halves go up."""
    return x.add_(0.5).floor_()


def _on_rows(planes: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each 16 samples of the rows, two runs of 8, by `matrix` (16, 16). A product of 8 columns would be slower."""
    return (planes.reshape(-1, 16) @ matrix.T).view(planes.shape)


def _on_columns(planes: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each 8 samples of each column by `matrix` (8, 8)."""
    strips = planes.reshape(-1, 8, planes.shape[-1])
    return torch.bmm(matrix.expand(len(strips), 8, 8), strips).view(planes.shape)


def _quantise(planes: Tensor, steps: Tensor) -> Tensor:
    """Return planes (n, c, h, w) of integers -128..127 after the quantised DCT of their 8 x 8 blocks and its inverse.

    Each pass of libjpeg's DCT multiplies by sqrt(8); values between two passes have two binary places.
    """
    height, width = planes.shape[-2:]
    planes = _pad(planes, 8, 8)
    place = (planes.device, planes.dtype)
    forth, there, back, home = _dct(4, 2, *place), _dct(1 / 4, 1, *place), _dct(4, 1, *place), _dct(1 / 32, 2, *place)
    coefficients = _round(_on_columns(_round(_on_rows(planes, forth)), there))  # times 8

    strips = coefficients.view(*planes.shape[:2], -1, 8, planes.shape[3])
    tiled = steps[:, None, None].repeat(1, 1, 1, 1, strips.shape[-1] // 8)
    strips.mul_(_inverse(tiled)).round_().mul_(tiled)

    planes = _round(_on_rows(_round(_on_columns(coefficients, back.T)), home.T))
    return planes.clamp_(-128, 127)[..., :height, :width]


def _alternating(even: float, odd: float, like: Tensor) -> Tensor:
    """Return what libjpeg adds along a row before it truncates, so that ties go both ways, (width,)."""
    return torch.arange(like.shape[-1], device=like.device).remainder(2).to(like.dtype) * (odd - even) + even


def _halve(chroma: Tensor) -> Tensor:
    """Return the mean of each 2 x 2 pixels; an odd last row or column counts twice."""
    chroma = _pad(chroma, 2, 2)
    rows = chroma[..., ::2, :] + chroma[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _twice(x: Tensor, dim: int) -> Tensor:
    """Double the size along one side: a sample weighs 3/4, and its neighbour on either side 1/4."""
    rest = x.shape[dim] - 1
    before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, rest)], dim)
    after = torch.cat([x.narrow(dim, 1, rest), x.narrow(dim, rest, 1)], dim)
    near, pairs = 0.75 * x, x.new_empty((*x.shape[: dim + 1], 2, *x.shape[dim + 1 :]))
    pairs.select(dim + 1, 0).copy_(torch.add(near, before, alpha=0.25))
    pairs.select(dim + 1, 1).copy_(torch.add(near, after, alpha=0.25))
    return pairs.flatten(dim, dim + 1)


def _restore(chroma: Tensor, size: Size) -> Tensor:
    """Restore the chroma's resolution by libjpeg's "fancy upsampling", cropped to `size`; up to two columns are repeated."""
    few = chroma.shape[-1] <= 2
    whole = chroma.repeat_interleave(2, 2).repeat_interleave(2, 3) if few else _twice(_twice(chroma, 2), 3)
    return whole[..., : size[0], : size[1]]


def _host(x: Tensor, quality: Tensor) -> Tensor:
    """Return what `_code` does of images on a CPU in float32, with compiled loops."""
    from bart.cpu_kernels.jpeg import coded

    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    tables = torch.stack([_steps(table, quality, x) for table in (LUMA, CHROMA)], dim=1)
    images, targets, steps, inverse = (array.numpy() for array in (x.contiguous(), out, tables, _inverse(tables)))
    place = (x.device, x.dtype)
    matrices = [_dct(4, 1, *place), _dct(1 / 4, 1, *place), _dct(4, 1, *place).T, _dct(1 / 32, 1, *place).T]
    passes = torch.stack(matrices).numpy()
    colours = torch.stack([constant(rows, False, *place) for rows in (YCC_FROM_RGB, RGB_FROM_YCC)]).numpy()
    each(lambda i: coded(images[i], steps[i], inverse[i], passes, colours, targets[i]), len(x))
    return out


def _inverse(steps: Tensor) -> Tensor:
    """Return by what coefficients, 8 times too large, are multiplied instead of divided by steps.

    A tie, frequent in the mean of a block, goes away from zero.
    """
    return (1 + 1e-6) / (8 * steps)


def _code(x: Tensor, quality: Tensor) -> Tensor:
    """Return the decoded file, in [0, 1] before the last range limit."""
    if fits(x):
        return _host(x.detach(), quality)
    size = (x.shape[-2], x.shape[-1])
    ycc = mix((x * 255).round_(), YCC_FROM_RGB)
    luma, chroma = (ycc[:, :1] - 127.5).floor_(), (ycc[:, 1:] - 0.5).ceil_()  # chroma's ties go down, or blue is out of range
    luma = _quantise(luma, _steps(LUMA, quality, x))

    half = _halve(_pad(chroma, 2, 16))
    half.add_(_alternating(0.25, 0.5, half)).floor_()
    half = _quantise(half, _steps(CHROMA, quality, x))[..., : (size[0] + 1) // 2, : (size[1] + 1) // 2]
    chroma = _restore(half, size)
    chroma = (chroma + _alternating(0.5, 0.4375, chroma)).floor_()
    return mix(torch.cat([luma, chroma], dim=1), RGB_FROM_YCC).add_(128.5).floor_().div_(255)


def _smooth(x: Tensor) -> Tensor:
    """Return the same without rounding: the function that the backward pass differentiates."""
    ycc = mix(x, YCC_FROM_RGB)
    chroma = _restore(_halve(ycc[:, 1:]), (x.shape[-2], x.shape[-1]))
    return mix(torch.cat([ycc[:, :1], chroma], dim=1), RGB_FROM_YCC)


def apply(x: Tensor, params: Params) -> Tensor:
    """Round the image to 8 bits, encode and decode it. x (n, 3, h, w) in [0, 1]; straight-through in the backward pass."""
    with torch.no_grad():
        y = _code(x, params["quality"])
    if torch.is_grad_enabled() and x.requires_grad:
        y = straight_through(_smooth(x), y)
    return clip(y)


JPEG = Transform("jpeg", "jpeg", draw, apply, Gradient.SURROGATE, {"quality": 95})
