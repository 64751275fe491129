"""Find all seams of an image in one direction: one program an image, eight warps.

The seams of an image come one after the other, and a seam has a pixel in each row. So the time from row to row decides.

Two sweeps run at once, of four warps each: one from the first row down, one from the last row up. They meet in the middle row,
where the seam is the least sum of both. Ties are broken as in the eager code: if two seams have the same energy, the pointwise
leftmost path is a seam of that energy too, so the choice of the leftmost finds it from either end.

A lane has SHARE neighbouring columns of a row, each in a tensor of its own, [8 warps, 32 lanes]; a row costs two exchanges with
the neighbouring lanes, and a block of WAYS rows one with the neighbouring warps. In between, what is wrong at the ends of a
warp's window reaches only lanes that are not its own (`layout`).

An integer holds the energy of a path above 2 bits for each of the last WAYS rows. These bits say whether the path came from the
left (0), from straight above (1), or from the right (2). So the least integer is the least path by the leftmost way. Instead of
adding a way to each of three neighbours, column c has c ways added beforehand.

A sweep also removes the previous seam as it passes: it reads energies from one half of their memory and writes the rest to the
other half. Columns count from the beginning of a stored row.
"""

import triton
import triton.language as tl

from bart.gpu_kernels.common.rows import places
from bart.gpu_kernels.seam_carving.layout import LANES, PARTS, WALL, seam_counts

_LANES, _PARTS, _WARPS, _WALL = tl.constexpr(LANES), tl.constexpr(PARTS), tl.constexpr(2 * PARTS), tl.constexpr(WALL)
_NOWHERE = tl.constexpr(32767)


@triton.jit
def empty_tuple():
    """Return a tuple to which values of any type can be added."""
    return ()


@triton.jit
def _row(step, rows, sweep):
    """Return the row that a sweep reaches at a step."""
    return tl.where(sweep == 0, step, rows - 1 - step)


@triton.jit
def _fetch(energy, seam, margin, cuts, step, rows, sweep, first, SHARE: tl.constexpr, WAYS: tl.constexpr, PITCH: tl.constexpr):
    """Load, for each row of a block, a lane's energies, the next one, and the column of the previous seam; zero outside."""
    loaded = empty_tuple()
    for i in tl.static_range(WAYS):
        row = _row(step + i, rows, sweep)
        there = (step + i >= 0) & (row >= 0) & (row < rows)
        for k in tl.static_range(SHARE + 1):
            loaded += (tl.load(energy + row * PITCH + first + k, mask=there, other=0).to(tl.int32),)
        loaded += (tl.load(seam + row, mask=cuts & there, other=_NOWHERE).to(tl.int32) + margin,)
    return loaded


@triton.jit
def _exchanged(paths, index, outside, first, SHARE: tl.constexpr):
    """Return the paths with those at the ends of each window from the warp that owns their columns; `outside`: none does."""
    moved = empty_tuple()
    for k in tl.static_range(SHARE):
        flat = tl.gather(tl.reshape(paths[k], [_WARPS * _LANES]), index, 0)
        moved += (tl.where(outside, first + k + _WALL, tl.reshape(flat, [_WARPS, _LANES])),)
    return moved


@triton.jit
def _neighbours(edge):
    """Return, for each thread, the one that owns its columns, as an index; and which threads' columns no warp owns."""
    thread = tl.arange(0, _WARPS * _LANES)
    lane, part = thread % _LANES, thread // _LANES % _PARTS
    own = _LANES - 2 * edge
    before, after = lane < edge, lane >= _LANES - edge
    index = thread + tl.where(before, own - _LANES, 0) + tl.where(after, _LANES - own, 0)
    outside = (before & (part == 0)) | (after & (part == _PARTS - 1))
    return tl.where(outside, thread, index), tl.reshape(outside, [_WARPS, _LANES])


@triton.jit
def _sweep(
    energy, rest, seam, ways, totals, blocks, rows, left, cuts,
    SHARE: tl.constexpr, EDGE: tl.constexpr, WAYS: tl.constexpr, PITCH: tl.constexpr,
):  # fmt: skip
    """Run both sweeps: store the ways by which each path came through each block, and the energies of the paths in the middle.

    Rows that are missing in the first block have no energy, so they change nothing.
    """
    margin: tl.constexpr = EDGE * SHARE
    lane = tl.arange(0, _LANES)[None, :]
    warp = tl.arange(0, _WARPS)[:, None]
    sweep = warp // _PARTS
    first = (warp % _PARTS) * ((_LANES - 2 * EDGE) * SHARE) + lane * SHARE
    own = (lane >= EDGE) & (lane < _LANES - EDGE) & (warp >= 0)
    before = (lane + _LANES - 1) % _LANES + warp * 0
    after = (lane + 1) % _LANES + warp * 0
    index, outside = _neighbours(EDGE)
    start = tl.where(sweep == 0, rows // 2, rows - rows // 2) - blocks * WAYS
    paths, walls = empty_tuple(), empty_tuple()
    for k in tl.static_range(SHARE):
        column = first + k
        paths += (tl.where((column <= margin) | (column >= margin + left - 1), _WALL, 0) + column,)
        walls += (tl.where((column == margin) | (column == margin + left - 1), _WALL, 0),)
    loaded = _fetch(energy, seam, margin, cuts, start, rows, sweep, first, SHARE, WAYS, PITCH)
    for block in range(blocks):
        ahead = _fetch(energy, seam, margin, cuts, start + (block + 1) * WAYS, rows, sweep, first, SHARE, WAYS, PITCH)
        for i in tl.static_range(WAYS):
            step = start + block * WAYS + i
            gone = loaded[i * (SHARE + 2) + SHARE + 1]
            there = rest + _row(step, rows, sweep) * PITCH + first
            from_left = tl.gather(paths[SHARE - 1], before, 1)
            from_right = tl.gather(paths[0], after, 1)
            reached = empty_tuple()
            for k in tl.static_range(SHARE):
                column = first + k
                value = tl.where(column >= gone, loaded[i * (SHARE + 2) + k + 1], loaded[i * (SHARE + 2) + k])
                tl.store(there + k, value.to(tl.int16), mask=own & cuts & (step >= 0))
                nearest = from_left if k == 0 else paths[k - 1]
                furthest = from_right if k == SHARE - 1 else paths[k + 1]
                least = tl.minimum(tl.minimum(nearest, furthest), paths[k])
                path = least + (value << (2 * WAYS)) + (walls[k] + ((1 - column) << (2 * i)))
                if i < WAYS - 1:
                    path += column << (2 * i + 2)
                else:
                    way = path & ((1 << (2 * WAYS)) - 1)
                    tl.store(ways + (block * 2 + sweep) * PITCH + column, way.to(tl.uint8), mask=own)
                    path += column - way
                reached += (path,)
            paths = reached
        paths = _exchanged(paths, index, outside, first, SHARE)
        loaded = ahead
    for k in tl.static_range(SHARE):
        column = first + k
        tl.store(totals + sweep * PITCH + column, (paths[k] - column) >> (2 * WAYS), mask=own)


@triton.jit
def _step(ways, steps, place, column, WAYS: tl.constexpr, PITCH: tl.constexpr):
    """Record the column where a path leaves a block and the ways by which it came; return the column before."""
    way = tl.load(ways + place * PITCH + column).to(tl.int32)
    tl.store(steps + place, column | (way << 16))
    pairs = (way & 0x33) + ((way >> 2) & 0x33)
    return column + (pairs & 15) + (pairs >> 4) - WAYS


@triton.jit
def _trace(ways, totals, steps, blocks, left, margin, WAYS: tl.constexpr, PITCH: tl.constexpr, ACROSS: tl.constexpr):
    """Follow the leftmost of the least seams from the middle upwards and downwards, block by block."""
    column = tl.arange(0, ACROSS)
    inside = (column > 0) & (column < left - 1)
    upper, lower = totals + margin, totals + PITCH + margin
    total = tl.load(lower + tl.maximum(column - 1, 0), mask=inside, other=0)
    total = tl.minimum(total, tl.load(lower + column, mask=inside, other=0))
    total = tl.minimum(total, tl.load(lower + column + 1, mask=inside, other=0))
    total = tl.where(inside, total + tl.load(upper + column, mask=inside, other=0), _WALL)
    # Load all ways at once, so that they are in the first-level cache. No four of them are all ones.
    words = ways.to(tl.pointer_type(tl.int32), bitcast=True)
    for first in range(0, blocks * (2 * PITCH // 4), 4 * ACROSS):
        for i in tl.static_range(4):
            word = first + i * ACROSS + column
            ones = tl.load(words + word, mask=word < blocks * (2 * PITCH // 4), other=0) == -1
            total -= ones.to(tl.int32)
    up = tl.min(tl.where(total == tl.min(total, 0), column, ACROSS), 0)
    nearest = tl.load(lower + up - 1)
    middle = tl.load(lower + up)
    furthest = tl.load(lower + up + 1)
    down = up + (nearest > tl.minimum(middle, furthest)).to(tl.int32) - 1
    down += ((nearest > furthest) & (middle > furthest)).to(tl.int32)
    up += margin
    down += margin
    for i in range(blocks):
        place = (blocks - 1 - i) * 2
        up = _step(ways, steps, place, up, WAYS, PITCH)
        down = _step(ways, steps, place + 1, down, WAYS, PITCH)


@triton.jit
def _resolve(steps, seam, blocks, rows, margin, WAYS: tl.constexpr, ACROSS: tl.constexpr):
    """Store the seam's column in every row, counted from the image's first."""
    row = tl.arange(0, ACROSS)
    upper = row < rows // 2
    step = blocks * WAYS + tl.where(upper, row - rows // 2, rows // 2 - 1 - row)
    record = tl.load(steps + step // WAYS * 2 + tl.where(upper, 0, 1), mask=row < rows, other=0)
    column = (record & 0xFFFF) - margin
    for i in tl.static_range(1, WAYS):
        column += tl.where(step % WAYS < i, ((record >> (16 + 2 * i)) & 3) - 1, 0)
    tl.store(seam + row, column.to(tl.int16), mask=row < rows)


@triton.jit(do_not_specialize=["turned"])
def carve_kernel(
    table, both, vertical, count, energy, ways, notes, seams, height, width, area, turned,
    SHARE: tl.constexpr, EDGE: tl.constexpr, WAYS: tl.constexpr, PITCH: tl.constexpr, ACROSS: tl.constexpr,
):  # fmt: skip
    """Find the seams of one image in one direction, (number, rows); program: slot.

    Each seam is in columns of what the previous ones left.
    """
    slot = tl.program_id(0).to(tl.int64)
    mine, _, _ = places(table, slot)
    if mine < 0:
        return
    columns_gone, rows_gone = seam_counts(both, vertical, count, mine)
    number = tl.where(turned != 0, rows_gone, columns_gone)
    rows = tl.where(turned != 0, width - columns_gone, height)
    width_now = tl.where(turned != 0, height, width)
    blocks = tl.cdiv(rows - rows // 2, WAYS)
    energy += slot * 2 * area
    ways += slot * area
    totals = notes + slot * (4 * PITCH)
    steps = totals + 2 * PITCH
    seams += slot * height * width
    for i in range(number):
        source, target = energy + tl.maximum(i - 1, 0) % 2 * area, energy + i % 2 * area
        previous, left = seams + (i - 1) * rows, width_now - i
        _sweep(source, target, previous, ways, totals, blocks, rows, left, i > 0, SHARE, EDGE, WAYS, PITCH)
        tl.debug_barrier()
        _trace(ways, totals, steps, blocks, left, EDGE * SHARE, WAYS, PITCH, ACROSS)
        tl.debug_barrier()
        _resolve(steps, seams + i * rows, blocks, rows, EDGE * SHARE, WAYS, ACROSS)
        tl.debug_barrier()
