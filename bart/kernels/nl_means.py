"""Non-local means as a Triton kernel: one program denoises one tile, of one channel or of all three with common weights.

The eager twin in `bart.transforms.nl_means` defines what it computes. Here the loop over the shifts runs inside the kernel,
over those within the image's own distance, and nothing but the shifted tile is loaded for each: the sums over patches are
products with banded matrices from either side, so the outermost rows and columns of a tile only serve the inner ones.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.schraudolph import CUTOFF, OFFSET, SLOPE

TILE_H, TILE_W = 32, 64
SCHEDULE = {"num_warps": 8, "num_stages": 1}
"""With fewer warps, or with loads ahead of their use, the registers of the joint loop do not suffice."""
BEFORE, AROUND = 2, 5
"""What the largest patch takes at the beginning of a tile, and at both ends together."""

_BEFORE, _AROUND = tl.constexpr(BEFORE), tl.constexpr(AROUND)
_CUTOFF, _SLOPE, _OFFSET = tl.constexpr(CUTOFF), tl.constexpr(SLOPE), tl.constexpr(OFFSET)


@triton.jit
def _weight(squares, rows, columns, scale):
    """Schraudolph's exp(-away) of the sums of squares over patches, zero beyond the cutoff.

    The tensor cores take ten bits of each square, which moves `away`, 5 at most, by a thousandth; ones and zeros are exact.
    """
    away = tl.dot(tl.dot(rows, squares, input_precision="tf32"), columns, input_precision="tf32") * scale
    bits = ((tl.minimum(away, _CUTOFF) * -_SLOPE).to(tl.int32) + _OFFSET) << 3
    return tl.where(away <= _CUTOFF, bits.to(tl.float32, bitcast=True), 0.0)


@triton.jit
def _single(tile, inside, out, kept, y, x, height, width, rows, columns, scale, distance):
    """One plane. `tile` points at its entries, `inside` the padded plane at (y, x)."""
    center = tl.load(tile, mask=inside, other=0.0)
    total = tl.zeros_like(center)
    weights = tl.zeros_like(center)
    for dy in range(-distance, distance + 1):
        for dx in range(-distance, distance + 1):
            valid = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
            step = tl.load(tile + dy * width + dx, mask=valid, other=0.0) - center
            weight = _weight(step * step, rows, columns, scale)
            total += weight * step
            weights += weight
    tl.store(out, center + total / weights, mask=kept)


@triton.jit
def _joint(tile, inside, out, kept, y, x, height, width, plane, size, rows, columns, scale, distance):
    """Three planes, `plane` apart in the padded image and `size` in `out`."""
    center_0 = tl.load(tile, mask=inside, other=0.0)
    center_1 = tl.load(tile + plane, mask=inside, other=0.0)
    center_2 = tl.load(tile + 2 * plane, mask=inside, other=0.0)
    total_0 = tl.zeros_like(center_0)
    total_1 = tl.zeros_like(center_0)
    total_2 = tl.zeros_like(center_0)
    weights = tl.zeros_like(center_0)
    for dy in range(-distance, distance + 1):
        for dx in range(-distance, distance + 1):
            valid = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
            there = tile + dy * width + dx
            step_0 = tl.load(there, mask=valid, other=0.0) - center_0
            step_1 = tl.load(there + plane, mask=valid, other=0.0) - center_1
            step_2 = tl.load(there + 2 * plane, mask=valid, other=0.0) - center_2
            weight = _weight(step_0 * step_0 + step_1 * step_1 + step_2 * step_2, rows, columns, scale)
            total_0 += weight * step_0
            total_1 += weight * step_1
            total_2 += weight * step_2
            weights += weight
    tl.store(out, center_0 + total_0 / weights, mask=kept)
    tl.store(out + size, center_1 + total_1 / weights, mask=kept)
    tl.store(out + 2 * size, center_2 + total_2 / weights, mask=kept)


@triton.jit
def _band(radius, before, after):
    """1 where the entry `before` lies in the patch about `after`: -radius < before - after <= radius."""
    return ((before - after > -radius) & (before - after <= radius)).to(tl.float32)


@triton.jit
def _nl_means_kernel(
    padded, scales, radii, distances, joints, out, height, width, margin, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):
    """`height` and `width` are those of `padded`, with a `margin` on all sides; program (image, channel, tile)."""
    inner_h, inner_w = TILE_H - _AROUND, TILE_W - _AROUND
    out_h, out_w = height - 2 * margin, width - 2 * margin
    across = tl.cdiv(out_w, inner_w)
    tiles = across * tl.cdiv(out_h, inner_h)
    tile = tl.program_id(0) % tiles
    channel = tl.program_id(0) // tiles % 3
    image = tl.program_id(0) // (3 * tiles)
    scale = tl.load(scales + image)
    radius = tl.load(radii + image)
    distance = tl.load(distances + image)
    joint = tl.load(joints + image) != 0

    row = tl.arange(0, TILE_H)
    column = tl.arange(0, TILE_W)
    rows = _band(radius, row[None, :], row[:, None])
    columns = _band(radius, column[:, None], column[None, :])
    out_y = tile // across * inner_h + row[:, None] - _BEFORE
    out_x = tile % across * inner_w + column[None, :] - _BEFORE
    kept = (row[:, None] >= _BEFORE) & (row[:, None] < _BEFORE + inner_h) & (out_y < out_h)
    kept = kept & (column[None, :] >= _BEFORE) & (column[None, :] < _BEFORE + inner_w) & (out_x < out_w)
    y, x = out_y + margin, out_x + margin
    inside = (y < height) & (x < width)

    plane, size = height * width, out_h * out_w
    source = padded + (image * 3 + channel).to(tl.int64) * plane + y * width + x
    target = out + (image * 3 + channel).to(tl.int64) * size + out_y * out_w + out_x
    if joint:
        if channel == 0:
            _joint(source, inside, target, kept, y, x, height, width, plane, size, rows, columns, scale, distance)
    else:
        _single(source, inside, target, kept, y, x, height, width, rows, columns, scale, distance)


def nl_means(padded: Tensor, margin: int, scale: Tensor, radius: Tensor, distance: Tensor, joint: Tensor) -> Tensor:
    """The denoised inner part of `padded` (n, 3, h, w) float32, which has a `margin` of distance + radius at least.

    `scale` (n,) float, 1 / (channels (h sigma patch)^2); `radius` (n,) int 2..3 of the patch; `distance` (n,) int;
    `joint` (n,) bool.
    """
    padded = padded.contiguous()
    n, channels, height, width = padded.shape
    out = torch.empty((n, channels, height - 2 * margin, width - 2 * margin), dtype=padded.dtype, device=padded.device)
    tiles = triton.cdiv(out.shape[-2], TILE_H - AROUND) * triton.cdiv(out.shape[-1], TILE_W - AROUND)
    numbers = (scale.float(), radius.int(), distance.int(), joint.int())
    with torch.cuda.device_of(out):  # Triton launches on the current device, which need not be that of the image
        _nl_means_kernel[(n * channels * tiles,)](
            padded, *numbers, out, height, width, margin, TILE_H=TILE_H, TILE_W=TILE_W, **SCHEDULE
        )
    return out
