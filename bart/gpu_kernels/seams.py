"""Seam carving as Triton kernels: the energies, the seams and what is left, for either direction, and then the enlargement.

One program finds all seams of one image in one direction; the other kernels cut the images into tiles. The seams of an image
come one after the other, and a seam has a pixel in each row: what counts is the time from row to row.

Two sweeps, one from the first row down and one from the last row up, each in a warp of its own, meet in the middle, where the
least sum of both is the seam's. Ties stay what they are in the eager code: of two seams of the same energy the pointwise
leftmost path is a seam of that energy too, so it is the one that the choice of the leftmost finds, from whichever end.

A lane of the warp has a few neighbouring columns of a row, each in a tensor of its own, [2 sweeps, 32 lanes]; a row costs two
exchanges with the neighbouring lanes. An integer holds a path's energy above 2 bits for each of the last rows, by which the
path came from the left (0), from straight above (1), or from the right (2). So the least integer is the least path by the
leftmost way. Instead of adding a way to each of three neighbours, column c has c ways added beforehand.

A sweep also cuts out the seam before, as it passes. In memory, a row of energies has first the first columns of all lanes, then
their second columns, and so on, so that a warp's access is one piece; a lane reads and writes nothing but its own columns.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.transforms.seam_carving import _LEVELS as LEVELS
from bart.transforms.seam_carving import _LUMINANCE as LUMINANCE
from bart.types import Params

LANES = 32
SWEEPS = 2
WALL = 1 << 30
"""Energy of the outermost columns, above that of every seam: half of what an integer holds, so that it can be added once."""
STEEPEST = LEVELS * math.sqrt(20 / 32)
"""No pixel has more energy: of the Sobel filters' squares, at most 20 of 32 come together."""
BLOCK = 256
TILE_H, TILE_W = 8, 32
TILE = {"TILE_H": TILE_H, "TILE_W": TILE_W}

_LANES, _WALL = tl.constexpr(LANES), tl.constexpr(WALL)
_RED, _GREEN, _BLUE = (tl.constexpr(part) for part in LUMINANCE)
_SCALE = tl.constexpr(LEVELS / math.sqrt(32))


@triton.jit
def _counts(both, vertical, count, image):
    """How many vertical and horizontal seams an image has."""
    two = tl.load(both + image) != 0
    first = tl.load(vertical + image) != 0
    columns = tl.where(two | first, tl.load(count + 2 * image), 0)
    rows = tl.where(two | (first == 0), tl.load(count + 2 * image + 1), 0)
    return columns.to(tl.int32), rows.to(tl.int32)


@triton.jit
def _tile(height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """This program's image, and the rows and columns of its tile."""
    across = tl.cdiv(width, TILE_W)
    tiles = across * tl.cdiv(height, TILE_H)
    tile = tl.program_id(0) % tiles
    y = tile // across * TILE_H + tl.arange(0, TILE_H)[:, None]
    x = tile % across * TILE_W + tl.arange(0, TILE_W)[None, :]
    return (tl.program_id(0) // tiles).to(tl.int64), y, x


@triton.jit
def _grey(x, columns, size, row, column, inside, CARVED: tl.constexpr):
    """Pixels of the image, or of what is left when its vertical seams are gone: `row` points at the first of each row."""
    if CARVED:
        column = tl.load(columns + row + column, mask=inside, other=0).to(tl.int32)
    red = tl.load(x + row + column, mask=inside, other=0.0).to(tl.float64)
    green = tl.load(x + size + row + column, mask=inside, other=0.0).to(tl.float64)
    blue = tl.load(x + 2 * size + row + column, mask=inside, other=0.0).to(tl.float64)
    return red * _RED + green * _GREEN + blue * _BLUE


@triton.jit
def _sum(first, second, third):
    return first + 2 * second + third


@triton.jit
def _energy_kernel(
    x, both, vertical, count, columns, place, energy, height, width, area,
    TURNED: tl.constexpr, SHARE: tl.constexpr, WAYS: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
):  # fmt: skip
    """Sobel magnitude in whole numbers, above the bits of the ways; a row that has none but the walls follows.

    Its rows are those of the image, or, if TURNED, the columns of what is left of it when its vertical seams are gone.
    """
    if TURNED:
        image, row, column = _tile(_LANES * SHARE, width + 1, TILE_H, TILE_W)
    else:
        image, row, column = _tile(height + 1, _LANES * SHARE, TILE_H, TILE_W)
    size = height * width
    x += image * 3 * size
    columns += image * size
    if not TURNED:
        tl.store(place + image * size + row * width + column, -1, mask=(row < height) & (column < width))
    columns_gone, rows_gone = _counts(both, vertical, count, image)
    length = width - columns_gone if TURNED else width
    line = row if TURNED else column
    end = height - 1 if TURNED else width - 1
    across = column if TURNED else row
    inside = (row < height) & (column < length)
    wanted = (across <= (length if TURNED else height)) & (line < _LANES * SHARE)
    if (rows_gone if TURNED else columns_gone) > 0:
        left = tl.maximum(column - 1, 0)
        right = tl.minimum(column + 1, length - 1)
        above = tl.maximum(row - 1, 0) * width
        here = row * width
        below = tl.minimum(row + 1, height - 1) * width
        above_left = _grey(x, columns, size, above, left, inside, TURNED)
        above_right = _grey(x, columns, size, above, right, inside, TURNED)
        below_left = _grey(x, columns, size, below, left, inside, TURNED)
        below_right = _grey(x, columns, size, below, right, inside, TURNED)
        before = _sum(above_left, _grey(x, columns, size, here, left, inside, TURNED), below_left)
        after = _sum(above_right, _grey(x, columns, size, here, right, inside, TURNED), below_right)
        upper = _sum(above_left, _grey(x, columns, size, above, column, inside, TURNED), above_right)
        lower = _sum(below_left, _grey(x, columns, size, below, column, inside, TURNED), below_right)
        value = tl.sqrt((after - before) * (after - before) + (lower - upper) * (lower - upper)) * _SCALE
        level = value.to(tl.int32)
        rest = value - level.to(tl.float64)
        level += ((rest > 0.5) | ((rest == 0.5) & (level % 2 == 1))).to(tl.int32)
        level = tl.where((line == 0) | (line == end), _WALL, tl.where(inside, level << (2 * WAYS), 0))
        spot = across * (_LANES * SHARE) + line % SHARE * _LANES + line // SHARE
        tl.store(energy + image * area + spot, level, mask=wanted)


@triton.jit
def _nothing():
    """A tuple to add to, of any type."""
    return ()


@triton.jit
def _row(step, rows, sweep):
    """Which row a sweep comes to; before the first one, the row of none."""
    return tl.where(step < 0, rows, tl.where(sweep == 0, step, rows - 1 - step))


@triton.jit
def _fetch(energy, seam, cuts, step, rows, sweep, lane, SHARE: tl.constexpr, WAYS: tl.constexpr):
    """Of each row of a block, a lane's energies, and the first of these that the seam before lets move, if there is one."""
    found = _nothing()
    for i in tl.static_range(WAYS):
        row = _row(step + i, rows, sweep)
        here = energy + row * (_LANES * SHARE) + lane
        for k in tl.static_range(SHARE):
            found += (tl.load(here + k * _LANES),)
        gone = tl.load(seam + row, mask=cuts & (step + i >= 0), other=_LANES * SHARE).to(tl.int32)
        found += (gone - lane * SHARE,)
    return found


@triton.jit
def _cut(values, first, here, after, last, SHARE: tl.constexpr):
    """A row's energies when what is right of the seam has moved one column to the left, also in memory."""
    following = tl.where(last, 0, tl.gather(values[0], after, 1))
    moved = _nothing()
    for k in tl.static_range(SHARE):
        value = tl.where(first <= k, values[k + 1] if k < SHARE - 1 else following, values[k])
        tl.store(here + k * _LANES, value, mask=first <= k)
        moved += (value,)
    return moved


@triton.jit
def _sweep(energy, seam, ways, totals, blocks, rows, left, cuts, SHARE: tl.constexpr, WAYS: tl.constexpr):
    """Both sweeps: the ways by which each path has come through each block, and the energies of the paths in the middle.

    Rows that are missing in the first block have no energy, so that they change none.
    """
    lane = tl.arange(0, _LANES)[None, :]
    sweep = tl.arange(0, 2)[:, None]
    before = (lane + _LANES - 1) % _LANES + sweep * 0  # around the ends, where no path comes from: there is a wall
    after = (lane + 1) % _LANES + sweep * 0
    start = tl.where(sweep == 0, rows // 2, rows - rows // 2) - blocks * WAYS
    paths = _nothing()
    for k in tl.static_range(SHARE):
        column = lane * SHARE + k + sweep * 0
        paths += (tl.where((column == 0) | (column >= left - 1), _WALL, 0) + column,)
    found = _fetch(energy, seam, cuts, start, rows, sweep, lane, SHARE, WAYS)
    for block in range(blocks):
        ahead = _fetch(energy, seam, cuts, start + (block + 1) * WAYS, rows, sweep, lane, SHARE, WAYS)
        for i in tl.static_range(WAYS):
            values = _nothing()
            for k in tl.static_range(SHARE):
                values += (found[i * (SHARE + 1) + k],)
            here = energy + _row(start + block * WAYS + i, rows, sweep) * (_LANES * SHARE) + lane
            values = _cut(values, found[i * (SHARE + 1) + SHARE], here, after, lane == _LANES - 1, SHARE)
            from_left = tl.gather(paths[SHARE - 1], before, 1)
            from_right = tl.gather(paths[0], after, 1)
            reached = _nothing()
            for k in tl.static_range(SHARE):
                column = lane * SHARE + k + sweep * 0
                nearest = from_left if k == 0 else paths[k - 1]
                furthest = from_right if k == SHARE - 1 else paths[k + 1]
                least = tl.minimum(tl.minimum(nearest, furthest), paths[k])
                path = least + (values[k] + ((1 - column) << (2 * i)))
                if i < WAYS - 1:
                    path += column << (2 * i + 2)
                else:
                    way = path & ((1 << (2 * WAYS)) - 1)
                    tl.store(ways + (block * 2 + sweep) * (_LANES * SHARE) + k * _LANES + lane, way.to(tl.uint8))
                    path += column - way
                reached += (path,)
            paths = reached
        found = ahead
    for k in tl.static_range(SHARE):
        total = (paths[k] - (lane * SHARE + k)) >> (2 * WAYS)
        tl.store(totals + sweep * (_LANES * SHARE) + k * _LANES + lane, total)


@triton.jit
def _spot(column, SHARE: tl.constexpr):
    """Where a column is within a row of LANES * SHARE."""
    return column % SHARE * _LANES + column // SHARE


@triton.jit
def _step(ways, steps, place, column, SHARE: tl.constexpr, WAYS: tl.constexpr):
    """Notes where a path leaves a block and by which ways it came; returns the column before."""
    way = tl.load(ways + place * (_LANES * SHARE) + _spot(column, SHARE)).to(tl.int32)
    tl.store(steps + place, column | (way << 16))
    pairs = (way & 0x33) + ((way >> 2) & 0x33)
    return column + (pairs & 15) + (pairs >> 4) - WAYS


@triton.jit
def _trace(ways, totals, steps, blocks, left, SHARE: tl.constexpr, WAYS: tl.constexpr, ACROSS: tl.constexpr):
    """The leftmost of the least seams: from the middle upwards and downwards, block by block."""
    column = tl.arange(0, ACROSS)
    inside = (column > 0) & (column < left - 1)
    lower = totals + _LANES * SHARE
    total = tl.load(lower + _spot(tl.maximum(column - 1, 0), SHARE), mask=inside, other=0)
    total = tl.minimum(total, tl.load(lower + _spot(column, SHARE), mask=inside, other=0))
    total = tl.minimum(total, tl.load(lower + _spot(column + 1, SHARE), mask=inside, other=0))
    total = tl.where(inside, total + tl.load(totals + _spot(column, SHARE), mask=inside, other=0), _WALL)
    # All ways at once, so that they are in the nearest cache when they are needed one by one. No four of them are all ones.
    words = ways.to(tl.pointer_type(tl.int32), bitcast=True)
    for first in range(0, blocks * (2 * _LANES * SHARE // 4), 4 * ACROSS):
        for i in tl.static_range(4):
            word = first + i * ACROSS + column
            ones = tl.load(words + word, mask=word < blocks * (2 * _LANES * SHARE // 4), other=0) == -1
            total -= ones.to(tl.int32)
    up = tl.min(tl.where(total == tl.min(total, 0), column, ACROSS), 0)
    nearest = tl.load(lower + _spot(up - 1, SHARE))
    middle = tl.load(lower + _spot(up, SHARE))
    furthest = tl.load(lower + _spot(up + 1, SHARE))
    down = up + (nearest > tl.minimum(middle, furthest)).to(tl.int32) - 1
    down += ((nearest > furthest) & (middle > furthest)).to(tl.int32)
    for i in range(blocks):
        place = (blocks - 1 - i) * 2
        up = _step(ways, steps, place, up, SHARE, WAYS)
        down = _step(ways, steps, place + 1, down, SHARE, WAYS)


@triton.jit
def _resolve(steps, seam, blocks, rows, WAYS: tl.constexpr, ACROSS: tl.constexpr):
    """The seam's column in every row."""
    row = tl.arange(0, ACROSS)
    upper = row < rows // 2
    step = blocks * WAYS + tl.where(upper, row - rows // 2, rows // 2 - 1 - row)
    noted = tl.load(steps + step // WAYS * 2 + tl.where(upper, 0, 1), mask=row < rows, other=0)
    column = noted & 0xFFFF
    for i in tl.static_range(1, WAYS):
        column += tl.where(step % WAYS < i, ((noted >> (16 + 2 * i)) & 3) - 1, 0)
    tl.store(seam + row, column.to(tl.int16), mask=row < rows)


@triton.jit(do_not_specialize=["turned"])
def _carve_kernel(
    both, vertical, count, energy, ways, notes, seams, height, width, area, turned,
    SHARE: tl.constexpr, WAYS: tl.constexpr, ACROSS: tl.constexpr,
):  # fmt: skip
    """Program: image. Its seams in one direction, (number, rows), each in columns of what the ones before it have left."""
    image = tl.program_id(0).to(tl.int64)
    columns_gone, rows_gone = _counts(both, vertical, count, image)
    number = tl.where(turned != 0, rows_gone, columns_gone)
    rows = tl.where(turned != 0, width - columns_gone, height)
    width_now = tl.where(turned != 0, height, width)
    blocks = tl.cdiv(rows - rows // 2, WAYS)
    energy += image * area
    ways += image * area
    totals = notes + image * (4 * _LANES * SHARE)
    steps = totals + 2 * _LANES * SHARE
    seams += image * height * width
    none = energy + rows * (_LANES * SHARE)
    for i in range(number):
        _sweep(energy, seams + (i - 1) * rows, ways, totals, blocks, rows, width_now - i, i > 0, SHARE, WAYS)
        tl.debug_barrier()
        _trace(ways, totals, steps, blocks, width_now - i, SHARE, WAYS, ACROSS)
        tl.debug_barrier()
        _resolve(steps, seams + i * rows, blocks, rows, WAYS, ACROSS)
        tl.store(none + _spot(width_now - i - 2, SHARE), _WALL)
        tl.store(none + _spot(width_now - i - 1, SHARE), 0)
        tl.debug_barrier()


@triton.jit
def _put_back(column, seams, line, rows, count, inside):
    """In which column what is now in `column` of row `line` was before the seams were cut out; four are loaded at a time."""
    for last in range(count - 1, -1, -4):
        seam_0 = tl.load(seams + last * rows + line, mask=inside, other=0)
        seam_1 = tl.load(seams + (last - 1) * rows + line, mask=inside & (last >= 1), other=32767)
        seam_2 = tl.load(seams + (last - 2) * rows + line, mask=inside & (last >= 2), other=32767)
        seam_3 = tl.load(seams + (last - 3) * rows + line, mask=inside & (last >= 3), other=32767)
        column += (column >= seam_0).to(tl.int32)
        column += (column >= seam_1).to(tl.int32)
        column += (column >= seam_2).to(tl.int32)
        column += (column >= seam_3).to(tl.int32)
    return column


@triton.jit
def _columns_kernel(
    both, vertical, count, seams, columns, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):  # fmt: skip
    """Which columns are left in each row when the vertical seams are gone."""
    image, row, column = _tile(height, width, TILE_H, TILE_W)
    columns_gone, _ = _counts(both, vertical, count, image)
    source = _put_back(column + row * 0, seams + image * height * width, row, height, columns_gone, row < height)
    here = columns + image * height * width + row * width + column
    tl.store(here, source.to(tl.int16), mask=(row < height) & (column < width - columns_gone))


@triton.jit
def _kept_kernel(
    both, vertical, count, seams, columns, kept, place, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):  # fmt: skip
    """Which pixels are left when the horizontal seams are gone, too, and where the pixels are then."""
    image, row, column = _tile(height, width, TILE_H, TILE_W)
    columns_gone, rows_gone = _counts(both, vertical, count, image)
    length = width - columns_gone
    size = height * width
    inside = (row < height - rows_gone) & (column < length)
    source = _put_back(row + column * 0, seams + image * size, column, length, rows_gone, column < length)
    pixel = source * width
    pixel += tl.load(columns + image * size + pixel + column, mask=inside, other=0).to(tl.int32)
    tl.store(kept + image * size + row * width + column, pixel, mask=inside)
    tl.store(place + image * size + pixel, row * width + column, mask=inside)


@triton.jit
def _taps(output, length, side):
    """An output of the enlargement from `length` to `side` is between two pixels: the first, and the share of the second.

    In whole numbers, of which 2 * side are a pixel. Beyond the outermost pixels' centres it is mirrored about them.
    """
    at = tl.abs((2 * output + 1) * length - side)
    last = (length - 1) * 2 * side
    at = last - tl.abs(last - at)
    first = at // (2 * side)
    return first, tl.div_rn((at - first * 2 * side).to(tl.float32), (2 * side).to(tl.float32))


@triton.jit
def _block(height, width, BLOCK: tl.constexpr):
    """This program's image, pixels, and whether they exist."""
    blocks = tl.cdiv(height * width, BLOCK)
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return (tl.program_id(0) // blocks).to(tl.int64), pixel, pixel < height * width


@triton.jit
def _enlarge_kernel(x, both, vertical, count, kept, out, height, width, BLOCK: tl.constexpr):
    image, pixel, inside = _block(height, width, BLOCK)
    columns_gone, rows_gone = _counts(both, vertical, count, image)
    upper, down = _taps(pixel // width, height - rows_gone, height)
    left, across = _taps(pixel % width, width - columns_gone, width)
    lower = tl.minimum(upper + 1, height - rows_gone - 1)
    right = tl.minimum(left + 1, width - columns_gone - 1)
    size = height * width
    kept += image * size
    upper_left = tl.load(kept + upper * width + left, mask=inside, other=0)
    upper_right = tl.load(kept + upper * width + right, mask=inside, other=0)
    lower_left = tl.load(kept + lower * width + left, mask=inside, other=0)
    lower_right = tl.load(kept + lower * width + right, mask=inside, other=0)
    for channel in tl.static_range(3):
        plane = x + (image * 3 + channel) * size
        above = tl.load(plane + upper_left, mask=inside, other=0.0) * (1 - across)
        above += tl.load(plane + upper_right, mask=inside, other=0.0) * across
        below = tl.load(plane + lower_left, mask=inside, other=0.0) * (1 - across)
        below += tl.load(plane + lower_right, mask=inside, other=0.0) * across
        tl.store(out + (image * 3 + channel) * size + pixel, above * (1 - down) + below * down, mask=inside)


@triton.jit
def _reach(pixel, length, side):
    """The first output that can have a carved pixel for a tap, and how many follow on it: those less than a pixel away.

    And those mirrored: they are at either end, where they come before the others of pixel 1 and after those of the last one.
    """
    first = tl.where(pixel > 1, ((2 * pixel - 1) * side - length) // (2 * length) + 1, 0)
    return first, 2 * side // length + side // (2 * length) + 2


@triton.jit
def _weight(output, pixel, length, side):
    """How much of an output is a carved pixel's."""
    first, share = _taps(output, length, side)
    weight = tl.where(first == pixel, 1 - share, 0.0) + tl.where(first + 1 == pixel, share, 0.0)
    return tl.where(output < side, weight, 0.0)


@triton.jit
def _gather_kernel(gradient, both, vertical, count, place, out, height, width, BLOCK: tl.constexpr):
    """The gradients of all outputs that the carved pixel which this one became is a part of."""
    image, pixel, inside = _block(height, width, BLOCK)
    columns_gone, rows_gone = _counts(both, vertical, count, image)
    size = height * width
    carved = tl.load(place + image * size + pixel, mask=inside, other=-1)
    inside_carved = carved >= 0
    carved = tl.maximum(carved, 0)
    row = carved // width
    column = carved % width
    top, tall = _reach(row, height - rows_gone, height)
    left, wide = _reach(column, width - columns_gone, width)
    gradient += image * 3 * size
    red = tl.zeros([BLOCK], tl.float32)
    green = tl.zeros([BLOCK], tl.float32)
    blue = tl.zeros([BLOCK], tl.float32)
    for dy in range(tall):
        down = _weight(top + dy, row, height - rows_gone, height)
        for dx in range(wide):
            weight = down * _weight(left + dx, column, width - columns_gone, width)
            here = gradient + (top + dy) * width + left + dx
            used = inside_carved & (weight > 0)
            red += weight * tl.load(here, mask=used, other=0.0)
            green += weight * tl.load(here + size, mask=used, other=0.0)
            blue += weight * tl.load(here + 2 * size, mask=used, other=0.0)
    out += image * 3 * size + pixel
    tl.store(out, red, mask=inside)
    tl.store(out + size, green, mask=inside)
    tl.store(out + 2 * size, blue, mask=inside)


def _ways(rows: int) -> int:
    """How many rows' ways an integer has room for under the energy of half a seam, which has to stay below WALL."""
    return max(ways for ways in range(1, 5) if (rows // 2 + 1 + ways) * STEEPEST * 4**ways < WALL - 2**20)


def kept_pixels(x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    """Which pixels the carved images consist of, and where in them each pixel is: both (n, h, w) int32. Six launches.

    Both count pixels of a flattened image. Beyond the carved image, which is at the top left, the first is not filled; the
    second is -1 where a seam was.
    """
    n, _, height, width = x.shape
    side = max(height, width)
    share = triton.cdiv(side, LANES)
    line = LANES * share
    area = (side + 1) * line  # a row more than the image has: the row of none
    new = x.new_empty
    energy, ways = new((n, area), dtype=torch.int32), new((n, area), dtype=torch.uint8)
    notes, (seams, columns) = new((n, 4, line), dtype=torch.int32), new((2, n, height, width), dtype=torch.int16)
    kept, place = new((2, n, height, width), dtype=torch.int32)
    numbers = (params["both"], params["vertical"], params["count"])
    shape = {"SHARE": share, "WAYS": _ways(side)}
    across = triton.next_power_of_2(side)

    def seek(turned: bool) -> None:
        tiles = (line, width + 1) if turned else (height + 1, line)
        programs = n * triton.cdiv(tiles[0], TILE_H) * triton.cdiv(tiles[1], TILE_W)
        pictures = (x, *numbers, columns, place, energy)
        launcher.launch(_energy_kernel, programs, *pictures, height, width, area, TURNED=turned, **shape, **TILE)
        buffers = (energy, ways, notes, seams)
        sizes = (height, width, area, int(turned))
        launcher.launch(_carve_kernel, n, *numbers, *buffers, *sizes, **shape, ACROSS=across, num_warps=SWEEPS)

    programs = n * triton.cdiv(height, TILE_H) * triton.cdiv(width, TILE_W)
    seek(turned=False)
    launcher.launch(_columns_kernel, programs, *numbers, seams, columns, height, width, **TILE)
    seek(turned=True)
    launcher.launch(_kept_kernel, programs, *numbers, seams, columns, kept, place, height, width, **TILE)
    return kept, place


class _SeamCarving(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, both: Tensor, vertical: Tensor, count: Tensor) -> Tensor:
        n, _, height, width = x.shape
        kept, place = kept_pixels(x, {"both": both, "vertical": vertical, "count": count})
        ctx.save_for_backward(both, vertical, count, place)
        out = torch.empty_like(x)
        programs = n * triton.cdiv(height * width, BLOCK)
        launcher.launch(_enlarge_kernel, programs, x, both, vertical, count, kept, out, height, width, BLOCK=BLOCK)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        both, vertical, count, place = ctx.saved_tensors
        n, _, height, width = gradient.shape
        out = torch.empty_like(gradient, memory_format=torch.contiguous_format)
        programs = n * triton.cdiv(height * width, BLOCK)
        numbers = (both, vertical, count)
        launcher.launch(_gather_kernel, programs, gradient.contiguous(), *numbers, place, out, height, width, BLOCK=BLOCK)
        return out, None, None, None


def seam_carving(x: Tensor, params: Params) -> Tensor:
    """The image without its seams, resized to the full size. Seven launches, and one for the gradient."""
    return _SeamCarving.apply(x, params["both"], params["vertical"], params["count"])
