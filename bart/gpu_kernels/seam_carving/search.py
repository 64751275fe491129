"""Find all seams of an image in one direction: one program an image, two warps.

The seams of an image come one after the other, and a seam has a pixel in each row. So the time from row to row decides.

Two sweeps run at once, each in a warp of its own: one from the first row down, one from the last row up. They meet in the
middle row, where the seam is the least sum of both. Ties are broken as in the eager code: if two seams have the same energy,
the pointwise leftmost path is a seam of that energy too, so the choice of the leftmost finds it from either end.

A lane of the warp has SHARE neighbouring columns of a row, each in a tensor of its own, [2 sweeps, 32 lanes]; a row costs two
exchanges with the neighbouring lanes. An integer holds the energy of a path above 2 bits for each of the last WAYS rows. These
bits say whether the path came from the left (0), from straight above (1), or from the right (2). So the least integer is the
least path by the leftmost way. Instead of adding a way to each of three neighbours, column c has c ways added beforehand.

A sweep also removes the previous seam as it passes. A lane reads and writes only its own columns.
"""

import triton
import triton.language as tl

from bart.gpu_kernels.seam_carving.layout import LANES, WALL, lane_major, seam_counts

_LANES, _WALL = tl.constexpr(LANES), tl.constexpr(WALL)


@triton.jit
def empty_tuple():
    """Return a tuple to which values of any type can be added."""
    return ()


@triton.jit
def _row(step, rows, sweep):
    """Return the row that a sweep reaches at a step. Before the first row it is the extra row without energies."""
    return tl.where(step < 0, rows, tl.where(sweep == 0, step, rows - 1 - step))


@triton.jit
def _fetch(energy, seam, cuts, step, rows, sweep, lane, SHARE: tl.constexpr, WAYS: tl.constexpr):
    """Load, for each row of a block, a lane's energies, and the first of them that the previous seam moves."""
    loaded = empty_tuple()
    for i in tl.static_range(WAYS):
        row = _row(step + i, rows, sweep)
        here = energy + row * (_LANES * SHARE) + lane
        for k in tl.static_range(SHARE):
            loaded += (tl.load(here + k * _LANES),)
        gone = tl.load(seam + row, mask=cuts & (step + i >= 0), other=_LANES * SHARE).to(tl.int32)
        loaded += (gone - lane * SHARE,)
    return loaded


@triton.jit
def _cut(values, first, here, after, last, SHARE: tl.constexpr):
    """Return a row's energies after the pixels right of the seam moved one column to the left, and store them."""
    following = tl.where(last, 0, tl.gather(values[0], after, 1))
    moved = empty_tuple()
    for k in tl.static_range(SHARE):
        value = tl.where(first <= k, values[k + 1] if k < SHARE - 1 else following, values[k])
        tl.store(here + k * _LANES, value, mask=first <= k)
        moved += (value,)
    return moved


@triton.jit
def _sweep(energy, seam, ways, totals, blocks, rows, left, cuts, SHARE: tl.constexpr, WAYS: tl.constexpr):
    """Run both sweeps: store the ways by which each path came through each block, and the energies of the paths in the middle.

    Rows that are missing in the first block have no energy, so they change nothing.
    """
    lane = tl.arange(0, _LANES)[None, :]
    sweep = tl.arange(0, 2)[:, None]
    before = (lane + _LANES - 1) % _LANES + sweep * 0  # wraps around at the ends; no path comes from there, because of the wall
    after = (lane + 1) % _LANES + sweep * 0
    start = tl.where(sweep == 0, rows // 2, rows - rows // 2) - blocks * WAYS
    paths = empty_tuple()
    for k in tl.static_range(SHARE):
        column = lane * SHARE + k + sweep * 0
        paths += (tl.where((column == 0) | (column >= left - 1), _WALL, 0) + column,)
    loaded = _fetch(energy, seam, cuts, start, rows, sweep, lane, SHARE, WAYS)
    for block in range(blocks):
        ahead = _fetch(energy, seam, cuts, start + (block + 1) * WAYS, rows, sweep, lane, SHARE, WAYS)
        for i in tl.static_range(WAYS):
            values = empty_tuple()
            for k in tl.static_range(SHARE):
                values += (loaded[i * (SHARE + 1) + k],)
            here = energy + _row(start + block * WAYS + i, rows, sweep) * (_LANES * SHARE) + lane
            values = _cut(values, loaded[i * (SHARE + 1) + SHARE], here, after, lane == _LANES - 1, SHARE)
            from_left = tl.gather(paths[SHARE - 1], before, 1)
            from_right = tl.gather(paths[0], after, 1)
            reached = empty_tuple()
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
        loaded = ahead
    for k in tl.static_range(SHARE):
        total = (paths[k] - (lane * SHARE + k)) >> (2 * WAYS)
        tl.store(totals + sweep * (_LANES * SHARE) + k * _LANES + lane, total)


@triton.jit
def _step(ways, steps, place, column, SHARE: tl.constexpr, WAYS: tl.constexpr):
    """Record the column where a path leaves a block and the ways by which it came; return the column before."""
    way = tl.load(ways + place * (_LANES * SHARE) + lane_major(column, SHARE)).to(tl.int32)
    tl.store(steps + place, column | (way << 16))
    pairs = (way & 0x33) + ((way >> 2) & 0x33)
    return column + (pairs & 15) + (pairs >> 4) - WAYS


@triton.jit
def _trace(ways, totals, steps, blocks, left, SHARE: tl.constexpr, WAYS: tl.constexpr, ACROSS: tl.constexpr):
    """Follow the leftmost of the least seams from the middle upwards and downwards, block by block."""
    column = tl.arange(0, ACROSS)
    inside = (column > 0) & (column < left - 1)
    lower = totals + _LANES * SHARE
    total = tl.load(lower + lane_major(tl.maximum(column - 1, 0), SHARE), mask=inside, other=0)
    total = tl.minimum(total, tl.load(lower + lane_major(column, SHARE), mask=inside, other=0))
    total = tl.minimum(total, tl.load(lower + lane_major(column + 1, SHARE), mask=inside, other=0))
    total = tl.where(inside, total + tl.load(totals + lane_major(column, SHARE), mask=inside, other=0), _WALL)
    # Load all ways at once, so that they are in the first-level cache. No four of them are all ones.
    words = ways.to(tl.pointer_type(tl.int32), bitcast=True)
    for first in range(0, blocks * (2 * _LANES * SHARE // 4), 4 * ACROSS):
        for i in tl.static_range(4):
            word = first + i * ACROSS + column
            ones = tl.load(words + word, mask=word < blocks * (2 * _LANES * SHARE // 4), other=0) == -1
            total -= ones.to(tl.int32)
    up = tl.min(tl.where(total == tl.min(total, 0), column, ACROSS), 0)
    nearest = tl.load(lower + lane_major(up - 1, SHARE))
    middle = tl.load(lower + lane_major(up, SHARE))
    furthest = tl.load(lower + lane_major(up + 1, SHARE))
    down = up + (nearest > tl.minimum(middle, furthest)).to(tl.int32) - 1
    down += ((nearest > furthest) & (middle > furthest)).to(tl.int32)
    for i in range(blocks):
        place = (blocks - 1 - i) * 2
        up = _step(ways, steps, place, up, SHARE, WAYS)
        down = _step(ways, steps, place + 1, down, SHARE, WAYS)


@triton.jit
def _resolve(steps, seam, blocks, rows, WAYS: tl.constexpr, ACROSS: tl.constexpr):
    """Store the seam's column in every row."""
    row = tl.arange(0, ACROSS)
    upper = row < rows // 2
    step = blocks * WAYS + tl.where(upper, row - rows // 2, rows // 2 - 1 - row)
    record = tl.load(steps + step // WAYS * 2 + tl.where(upper, 0, 1), mask=row < rows, other=0)
    column = record & 0xFFFF
    for i in tl.static_range(1, WAYS):
        column += tl.where(step % WAYS < i, ((record >> (16 + 2 * i)) & 3) - 1, 0)
    tl.store(seam + row, column.to(tl.int16), mask=row < rows)


@triton.jit(do_not_specialize=["turned"])
def carve_kernel(
    both, vertical, count, energy, ways, notes, seams, height, width, area, turned,
    SHARE: tl.constexpr, WAYS: tl.constexpr, ACROSS: tl.constexpr,
):  # fmt: skip
    """Find the seams of one image in one direction, (number, rows); program: image.

    Each seam is in columns of what the previous ones left.
    """
    image = tl.program_id(0).to(tl.int64)
    columns_gone, rows_gone = seam_counts(both, vertical, count, image)
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
        tl.store(none + lane_major(width_now - i - 2, SHARE), _WALL)
        tl.store(none + lane_major(width_now - i - 1, SHARE), 0)
        tl.debug_barrier()
