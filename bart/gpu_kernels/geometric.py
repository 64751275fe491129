"""Sample images bilinearly at moved places: zoom and swirl. One program computes one tile of an image, in all three channels.

Forward, a tile's places are computed once. Backward, each pixel of a tile gathers the gradients of the outputs that sampled
it. Candidates come from the inverse of the map, and their weights from the map itself, so a superfluous candidate has weight
0. Only the parameters are saved, and sums have a fixed order.

Zoom's places are fractions of integers and computed as such: the mirroring and the floor are exact.
"""

import math
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, linear
from bart.gpu_kernels.common.rows import places, store_clipped, store_masked

TILE_H, TILE_W = 16, 32
"""Rows and columns of a tile."""
SCHEDULE = {"num_warps": 8}
"""Two pixels a thread; with four the swirl's backward pass would need too many registers."""

_DECAY = tl.constexpr(math.log(2) / 5)  # decay of a swirl of radius 1
_E = tl.constexpr(math.e)
_DIAGONAL = tl.constexpr(math.sqrt(2) + 0.01)  # diagonal of a pixel, with a margin for rounding


@triton.jit
def _tile(height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Return this program's slot and the first row and column of its tile."""
    across = tl.cdiv(width, TILE_W)
    tiles = across * tl.cdiv(height, TILE_H)
    tile = tl.program_id(0) % tiles
    return tl.program_id(0) // tiles, tile // across * TILE_H, tile % across * TILE_W


@triton.jit
def _sample(x, y, inside, marks, target, valid, row, column, down, right, height, width, CLIP: tl.constexpr):
    """Store values between the pixels (row, column) and the next ones, `down` and `right` of the way.

    x and y point at an image; `marks` is where those of the image begin in `inside`.
    """
    below = tl.minimum(row + 1, height - 1) * width
    after = tl.minimum(column + 1, width - 1)
    row = row * width
    for channel in tl.static_range(3):
        plane = x + channel * height * width
        above_0 = tl.load(plane + row + column, mask=valid, other=0.0)
        above_1 = tl.load(plane + row + after, mask=valid, other=0.0)
        below_0 = tl.load(plane + below + column, mask=valid, other=0.0)
        below_1 = tl.load(plane + below + after, mask=valid, other=0.0)
        above = above_0 * (1 - right) + above_1 * right
        value = above * (1 - down) + (below_0 * (1 - right) + below_1 * right) * down
        there = channel * height * width + target
        store_clipped(y, inside, there, marks + there, value, valid, CLIP)


@triton.jit
def _crop(margins, image, height, width):
    """Return the first column and row of an image's crop, its width and its height."""
    left, right = tl.load(margins + image * 4).to(tl.int32), tl.load(margins + image * 4 + 1).to(tl.int32)
    top, bottom = tl.load(margins + image * 4 + 2).to(tl.int32), tl.load(margins + image * 4 + 3).to(tl.int32)
    return left, top, width - left - right, height - top - bottom


@triton.jit
def _zoomed(i, length, side):
    """Return where output i samples its crop of `length` pixels, mirrored at the ends, times 2 side."""
    last = (length - 1) * 2 * side
    return last - tl.abs(last - tl.abs((2 * i + 1) * length - side))


@triton.jit
def _zoom_kernel(table, x, y, inside, margins, height, width, CLIP: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Crop and enlarge one tile."""
    slot, first_row, first_column = _tile(height, width, TILE_H, TILE_W)
    image, source, target = places(table, slot)
    if image < 0:
        return
    left, top, wide, high = _crop(margins, image, height, width)
    row = first_row + tl.arange(0, TILE_H)[:, None]
    column = first_column + tl.arange(0, TILE_W)[None, :]
    valid = (row < height) & (column < width)
    at_y = _zoomed(tl.minimum(row, height - 1), high, height)
    at_x = _zoomed(tl.minimum(column, width - 1), wide, width)
    down = (at_y % (2 * height)).to(tl.float32) / (2 * height)
    right = (at_x % (2 * width)).to(tl.float32) / (2 * width)
    row_from, column_from = top + at_y // (2 * height), left + at_x // (2 * width)
    values = 3 * height * width
    pixel = row * width + column
    x += source * values
    y += target * values
    _sample(x, y, inside, image * values, pixel, valid, row_from, column_from, down, right, height, width, CLIP)


@triton.jit
def _samplers(u, length, side):
    """Return the first and the last output that may sample pixel u of a crop; (0, -1) for pixels outside it.

    Outputs within a pixel of u have 2i + 1 between (2u - 1) side / length and (2u + 3) side / length. Mirrored ones also
    belong to the two outermost pixels at either end, so these begin and end with the outputs.
    """
    inside = (u >= 0) & (u < length)
    first = tl.where(u <= 1, 0, ((2 * u - 1) * side - length) // (2 * length) + 1)
    last = tl.where(u >= length - 2, side - 1, ((2 * u + 3) * side - length) // (2 * length))
    return tl.where(inside, tl.maximum(first, 0), 0), tl.where(inside, tl.minimum(last, side - 1), -1)


@triton.jit
def _zoom_weight(u, i, last, length, side):
    """Return the share of pixel u of the crop in output i."""
    away = tl.abs(_zoomed(i, length, side) - u * 2 * side)
    return tl.where(i <= last, tl.maximum(2 * side - away, 0).to(tl.float32) / (2 * side), 0.0)


@triton.jit
def _zoom_backward_kernel(
    table, gradient, out, inside, margins, height, width, CLIP: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):
    """Gather the gradient of one tile."""
    slot, first_row, first_column = _tile(height, width, TILE_H, TILE_W)
    image, _, _ = places(table, slot)
    if image < 0:
        return
    left, top, wide, high = _crop(margins, image, height, width)
    row = first_row + tl.arange(0, TILE_H)[:, None]
    column = first_column + tl.arange(0, TILE_W)[None, :]
    first_y, last_y = _samplers(row - top, high, height)
    first_x, last_x = _samplers(column - left, wide, width)
    rows, columns = tl.max(last_y - first_y) + 1, tl.max(last_x - first_x) + 1

    plane = height * width
    source = gradient + image * 3 * plane
    total_0 = tl.zeros([TILE_H, TILE_W], tl.float32)
    total_1 = tl.zeros([TILE_H, TILE_W], tl.float32)
    total_2 = tl.zeros([TILE_H, TILE_W], tl.float32)
    for a in range(rows):
        weight_y = _zoom_weight(row - top, first_y + a, last_y, high, height)
        for b in range(columns):
            weight = weight_y * _zoom_weight(column - left, first_x + b, last_x, wide, width)
            there = source + (first_y + a) * width + first_x + b
            total_0 += weight * tl.load(there, mask=weight > 0, other=0.0)
            total_1 += weight * tl.load(there + plane, mask=weight > 0, other=0.0)
            total_2 += weight * tl.load(there + 2 * plane, mask=weight > 0, other=0.0)
    _store(out, inside, image, row, column, height, width, total_0, total_1, total_2, CLIP)


@triton.jit
def _store(out, inside, image, row, column, height, width, total_0, total_1, total_2, CLIP: tl.constexpr):
    """Store the gradient of the three channels of a tile."""
    valid = (row < height) & (column < width)
    there = image * 3 * height * width + row * width + column
    store_masked(out, inside, there, total_0, valid, CLIP)
    store_masked(out, inside, there + height * width, total_1, valid, CLIP)
    store_masked(out, inside, there + 2 * height * width, total_2, valid, CLIP)


@triton.jit
def _turn(strengths, centers, radii, image):
    """Return an image's swirl: strength, centre (x, y) and decay."""
    decay = tl.load(radii + image).to(tl.float32) * _DECAY
    x, y = tl.load(centers + image * 2).to(tl.float32), tl.load(centers + image * 2 + 1).to(tl.float32)
    return tl.load(strengths + image).to(tl.float32), x, y, decay


@triton.jit
def _turned(y, x, strength, center_x, center_y, decay):
    """Turn (y, x) about the centre. The opposite strength gives the inverse, since distances do not change."""
    down, across = y - center_y, x - center_x
    angle = strength * tl.exp(-tl.sqrt(across * across + down * down) / decay)
    cos, sin = tl.cos(angle), tl.sin(angle)
    return center_y + (across * sin + down * cos), center_x + (across * cos - down * sin)


@triton.jit
def _mirrored(t, side):
    """Mirror a coordinate into 0..side - 1, repeatedly if needed; return its pixel, and how far it is beyond that pixel."""
    span = (side - 1).to(tl.float32)
    flips = tl.floor(tl.abs(t) / span)
    left = tl.abs(t) - flips * span
    odd = flips - 2 * tl.floor(flips / 2)
    t = tl.minimum(tl.maximum(tl.where(odd > 0, span - left, left), 0.0), span)
    return tl.floor(t).to(tl.int32), t - tl.floor(t)


@triton.jit
def _swirl_kernel(
    table, x, y, inside, strengths, centers, radii, height, width,
    CLIP: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Swirl one tile."""
    slot, first_row, first_column = _tile(height, width, TILE_H, TILE_W)
    image, source, target = places(table, slot)
    if image < 0:
        return
    strength, center_x, center_y, decay = _turn(strengths, centers, radii, image)
    row = first_row + tl.arange(0, TILE_H)[:, None]
    column = first_column + tl.arange(0, TILE_W)[None, :]
    at_y, at_x = _turned(row.to(tl.float32), column.to(tl.float32), strength, center_x, center_y, decay)
    row_from, down = _mirrored(at_y, height)
    column_from, right = _mirrored(at_x, width)
    values = 3 * height * width
    valid = (row < height) & (column < width)
    pixel = row * width + column
    x += source * values
    y += target * values
    _sample(x, y, inside, image * values, pixel, valid, row_from, column_from, down, right, height, width, CLIP)


@triton.jit
def _cells(first, size, side, reach):
    """Return how many mirror images before and after a tile can reach into the image, if pixels move by up to `reach`."""
    span = side - 1
    most = tl.ceil(reach / span).to(tl.int32)
    return tl.where(first <= reach, most, 0), tl.where(first + size - 1 >= span - reach, most, 0)


@triton.jit
def _image(q, cell, side):
    """Return coordinates q in a mirror image of the picture, and whether no other mirror image has them too.

    Cell 0 is the picture itself.
    """
    even = cell % 2 == 0
    return tl.where(even, cell * (side - 1) + q, (cell + 1) * (side - 1) - q), even | ((q > 0) & (q < side - 1))


@triton.jit
def _spread(y, x, strength, center_x, center_y, decay):
    """Return how far from the turned-back place of a pixel the outputs that sample it can be, along an axis.

    The swirl's derivative is a rotation of a shear by strength d / decay exp(-d / decay) at the distance d. Its norm bounds
    the image of the pixel's diagonal. The largest one in the tile is at the distance nearest to `decay`.
    """
    away = tl.sqrt((x - center_x) * (x - center_x) + (y - center_y) * (y - center_y))
    nearest = tl.minimum(tl.maximum(decay, tl.min(away) - 1.5), tl.max(away) + 1.5)
    shear = tl.abs(strength) * nearest / decay * tl.exp(-nearest / decay)
    return _DIAGONAL * (shear / 2 + tl.sqrt(1 + shear * shear / 4))


@triton.jit
def _swirl_backward_kernel(
    table, gradient, out, inside, strengths, centers, radii, height, width,
    CLIP: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Gather for each pixel of the endlessly mirrored picture the gradients of the outputs that sample within a pixel of it."""
    slot, first_row, first_column = _tile(height, width, TILE_H, TILE_W)
    image, _, _ = places(table, slot)
    if image < 0:
        return
    strength, center_x, center_y, decay = _turn(strengths, centers, radii, image)
    row = first_row + tl.arange(0, TILE_H)[:, None]
    column = first_column + tl.arange(0, TILE_W)[None, :]
    farthest = tl.abs(strength) * decay / _E + 1.5  # the largest movement of a pixel, plus its neighbours
    cells_above, cells_below = _cells(first_row, TILE_H, height, farthest)
    cells_before, cells_after = _cells(first_column, TILE_W, width, farthest)

    plane = height * width
    source = gradient + image * 3 * plane
    total_0 = tl.zeros([TILE_H, TILE_W], tl.float32)
    total_1 = tl.zeros([TILE_H, TILE_W], tl.float32)
    total_2 = tl.zeros([TILE_H, TILE_W], tl.float32)
    for cell_y in range(-cells_above, cells_below + 1):
        for cell_x in range(-cells_before, cells_after + 1):
            at_y, own_y = _image(row, cell_y, height)
            at_x, own_x = _image(column, cell_x, width)
            at_y, at_x = at_y.to(tl.float32), at_x.to(tl.float32)
            spread = _spread(at_y, at_x, strength, center_x, center_y, decay)
            back_y, back_x = _turned(at_y, at_x, -strength, center_x, center_y, decay)
            near = (back_y >= -spread) & (back_y < height + spread) & (back_x >= -spread) & (back_x < width + spread)
            near = near & own_y & own_x & (row < height) & (column < width)
            candidates = tl.max(near.to(tl.int32)) * (tl.floor(2 * spread).to(tl.int32) + 1)
            first_y, first_x = tl.ceil(back_y - spread).to(tl.int32), tl.ceil(back_x - spread).to(tl.int32)
            for a in range(candidates):
                y = first_y + a
                for b in range(candidates):
                    x = first_x + b
                    to_y, to_x = _turned(y.to(tl.float32), x.to(tl.float32), strength, center_x, center_y, decay)
                    weight = tl.maximum(1 - tl.abs(to_y - at_y), 0.0) * tl.maximum(1 - tl.abs(to_x - at_x), 0.0)
                    used = near & (y >= 0) & (y < height) & (x >= 0) & (x < width) & (weight > 0)
                    there = source + y * width + x
                    total_0 += weight * tl.load(there, mask=used, other=0.0)
                    total_1 += weight * tl.load(there + plane, mask=used, other=0.0)
                    total_2 += weight * tl.load(there + 2 * plane, mask=used, other=0.0)
    _store(out, inside, image, row, column, height, width, total_0, total_1, total_2, CLIP)


def _launch(kernel: Any, part: Part, x: Tensor, names: tuple[str, ...]) -> None:
    """Queue a kernel over the tiles of a part; it reads `x` and some parameters."""
    height, width = part.size
    programs = part.slots * launcher.cdiv(height, TILE_H) * launcher.cdiv(width, TILE_W)
    numbers = (part.params[name] for name in names)
    tile = {"CLIP": part.clip, "TILE_H": TILE_H, "TILE_W": TILE_W}
    launcher.launch(kernel, programs, part.table, x, part.y, part.inside, *numbers, height, width, **tile, **SCHEDULE)


def _sampled(there: Any, back: Any, *names: str) -> Kernel:
    """Return the kernel that samples images at places which some parameters give."""
    return linear(lambda part, x, transposed: _launch(back if transposed else there, part, x, names))


zoom = _sampled(_zoom_kernel, _zoom_backward_kernel, "margin")
"""Return `bart.transforms.zoom.apply(x, params)`."""
swirl = _sampled(_swirl_kernel, _swirl_backward_kernel, "strength", "center", "radius")
"""Return `bart.transforms.swirl.apply(x, params)`."""
