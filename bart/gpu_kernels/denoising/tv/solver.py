"""Make Chambolle's iterations in one launch, a few in each pass over the tiles of a problem.

A pass loads the fields of a tile, makes the iterations in registers, and stores the fields and the tile's share of the energy
of each iteration. The next pass adds up the shares; all tiles of a problem do so alike. If the problem has stopped meanwhile, a
tile takes the fields from before the last pass, which are still there, repeats the iterations up to the stop and writes the
image. `tickets` has the order of passes. The host learns of nothing and never waits.

Fields are numbered 3 channel + axis, for columns, rows and channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Part
from bart.gpu_kernels.common.rows import places, store_clipped
from bart.gpu_kernels.denoising.tv.tickets import COUNTERS, report, take
from bart.gpu_kernels.denoising.tv.tiles import (
    above,
    at_left,
    at_right,
    below,
    plane_tiles,
    tile_pixels,
    tile_shape,
)
from bart.transforms.denoising.tv import EPSILON, ITERATIONS

FIELDS = 8
"""Fields of an image; the last channel has none towards a next one."""
LONGEST = 24
"""The most iterations of a pass."""
AROUND = 2
"""What loading, storing and waiting cost a pass, in iterations (estimated)."""

_FIELDS, _SPAN, _COUNTERS = tl.constexpr(FIELDS), tl.constexpr(32), tl.constexpr(COUNTERS)
_EPSILON, _END = tl.constexpr(EPSILON), tl.constexpr(ITERATIONS - 1)


def span(x: Tensor, rows: int, columns: int) -> int:
    """Return how many iterations a pass makes, for the least work with tiles of `rows` x `columns`."""
    spans = range(1, min(LONGEST, min(rows, columns) // 2 - 1) + 1)
    return min(spans, key=lambda count: plane_tiles(x, rows, columns, count) * (count + AROUND) / count)


@triton.jit
def _stop(energies, tiles, begin, end, PARTS: tl.constexpr):
    """Return the first iteration from `begin` to `end` in which the problem stops, else the one after the last of all.

    `energies` are those of the problem's first tile.
    """
    part = tl.arange(0, PARTS)[:, None]
    iteration = begin + tl.arange(0, _SPAN)[None, :]
    valid = (part < tiles) & (iteration < end)
    row = energies + part * _END
    energy = tl.sum(tl.load(row + iteration, mask=valid, other=0.0, cache_modifier=".cg"), axis=0)
    before = tl.load(row + iteration - 1, mask=valid & (iteration > 0), other=0.0, cache_modifier=".cg")
    previous = tl.sum(before, axis=0)
    first = tl.sum(tl.load(row + iteration * 0, mask=valid, other=0.0, cache_modifier=".cg"), axis=0)
    iteration = begin + tl.arange(0, _SPAN)
    stops = tl.where(iteration == 0, energy <= 0, tl.abs(previous - energy) < first * _EPSILON)
    return tl.min(tl.where(stops & (iteration < end), iteration, _END))


@triton.jit
def _plan(energies, tiles, turn, span, PARTS: tl.constexpr):
    """Return what a pass does: whether it is the last one, where it begins, its iterations, and whose fields it reads.

    `whose` counts passes: the fields after 0 of them are zero.
    """
    begin = tl.minimum(turn * span, _END)
    before = tl.maximum(turn - 1, 0) * span
    stop = _stop(energies, tiles, before, begin, PARTS)
    last = stop <= begin
    repeat = last & (stop < begin)
    start = tl.where(repeat, before, begin)
    count = tl.where(last, tl.where(repeat, stop - before, 0), tl.minimum(span, -begin + _END))
    return last, start, count, tl.where(repeat, turn - 1, turn)


@triton.jit
def _field(state, number, size, pixel, mask):
    """Load a field that another tile may have stored."""
    return tl.load(state + number * size + pixel, mask=mask, other=0.0, cache_modifier=".cg")


@triton.jit
def _divergence(q0, q1, row, column):
    """Return the divergence of a channel's two fields within the plane."""
    return q0 + q1 - tl.where(column > 0, at_left(q0), 0.0) - tl.where(row > 0, above(q1), 0.0)


@triton.jit
def _slopes(u, row, column, height, width):
    """Return the differences to the right and below; zero at the ends."""
    return tl.where(column < width - 1, at_right(u) - u, 0.0), tl.where(row < height - 1, below(u) - u, 0.0)


@triton.jit
def _step(q0, q1, s0, s1, norm):
    """Return a channel's two fields within the plane after a step, and the factor by which fields are multiplied."""
    shrink = 1 / (1 + norm)
    return (q0 + s0) * shrink, (q1 + s1) * shrink, shrink


@triton.jit
def _denoised(x, outputs, weight, divergence, pixel, own, CLIP: tl.constexpr):
    """Store x + weight divergence as it is, and clipped."""
    value = tl.load(x + pixel, mask=own) + weight * divergence
    tl.store(outputs[0] + pixel, value, mask=own)
    store_clipped(outputs[1], outputs[2], pixel, pixel, value, own, CLIP)


@triton.jit
def _alone(
    x, weight, source, target, outputs, energies, tile, count, margin, live, last, height, width,
    CLIP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Make a pass of one channel over one tile; `energies` are the tile's own, from the first iteration of the pass."""
    size = height * width
    row, column, own = tile_pixels(tile, height, width, margin, ROWS, COLUMNS)
    inside = (row < height) & (column < width)
    pixel = row * width + column
    q0 = _field(source, 0, size, pixel, inside & live)
    q1 = _field(source, 1, size, pixel, inside & live)
    start = tl.load(x + pixel, mask=inside, other=0.0) * (0.25 / weight)
    for j in range(count):
        d = _divergence(q0, q1, row, column)
        s0, s1 = _slopes(0.25 * d + start, row, column, height, width)
        norm = tl.sqrt(s0 * s0 + s1 * s1)
        energy = tl.where(own, 0.25 * d * d + norm, 0.0)
        tl.store(energies + j, tl.sum(energy.to(tl.float64)), mask=last == 0)
        q0, q1, _ = _step(q0, q1, s0, s1, norm)
    if last:
        _denoised(x, outputs, weight, _divergence(q0, q1, row, column), pixel, own, CLIP)
    else:
        tl.store(target + pixel, q0, mask=own)
        tl.store(target + size + pixel, q1, mask=own)


@triton.jit
def _coupled(
    x, weight, source, target, outputs, energies, tile, count, margin, live, last, height, width,
    CLIP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Make a pass of three coupled channels over one tile; as `_alone`."""
    size = height * width
    row, column, own = tile_pixels(tile, height, width, margin, ROWS, COLUMNS)
    inside = (row < height) & (column < width)
    pixel = row * width + column
    seen = inside & live
    a0, a1, a2 = (
        _field(source, 0, size, pixel, seen),
        _field(source, 1, size, pixel, seen),
        _field(source, 2, size, pixel, seen),
    )
    b0, b1, b2 = (
        _field(source, 3, size, pixel, seen),
        _field(source, 4, size, pixel, seen),
        _field(source, 5, size, pixel, seen),
    )
    c0, c1 = _field(source, 6, size, pixel, seen), _field(source, 7, size, pixel, seen)
    tau = 1 / 6
    scale = tau / weight
    for j in range(count):
        d = _divergence(a0, a1, row, column) + a2
        e = _divergence(b0, b1, row, column) + b2 - a2
        f = _divergence(c0, c1, row, column) - b2
        u_a = tau * d + scale * tl.load(x + pixel, mask=inside, other=0.0)  # from a cache: registers are scarce
        u_b = tau * e + scale * tl.load(x + size + pixel, mask=inside, other=0.0)
        u_c = tau * f + scale * tl.load(x + 2 * size + pixel, mask=inside, other=0.0)
        energy = tau * (d * d + e * e + f * f)
        s0, s1 = _slopes(u_a, row, column, height, width)
        s2 = u_b - u_a
        norm = tl.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
        energy += norm
        a0, a1, shrink = _step(a0, a1, s0, s1, norm)
        a2 = (a2 + s2) * shrink
        s0, s1 = _slopes(u_b, row, column, height, width)
        s2 = u_c - u_b
        norm = tl.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
        energy += norm
        b0, b1, shrink = _step(b0, b1, s0, s1, norm)
        b2 = (b2 + s2) * shrink
        s0, s1 = _slopes(u_c, row, column, height, width)
        norm = tl.sqrt(s0 * s0 + s1 * s1)
        c0, c1, _ = _step(c0, c1, s0, s1, norm)
        energy = tl.where(own, energy + norm, 0.0)
        tl.store(energies + j, tl.sum(energy.to(tl.float64)), mask=last == 0)
    if last:
        _denoised(x, outputs, weight, _divergence(a0, a1, row, column) + a2, pixel, own, CLIP)
        _denoised(x, outputs, weight, _divergence(b0, b1, row, column) + b2 - a2, size + pixel, own, CLIP)
        _denoised(x, outputs, weight, _divergence(c0, c1, row, column) - b2, 2 * size + pixel, own, CLIP)
    else:
        fields = (a0, a1, a2, b0, b1, b2, c0, c1)
        for number in tl.static_range(8):
            tl.store(target + number * size + pixel, fields[number], mask=own)


@triton.jit
def _solve_kernel(
    table, x, weights, per_channel, states, energies, counters, u, y, inside, height, width, slots, tiles_alone, span_alone,
    tiles_coupled, span_coupled, programs,
    CLIP: tl.constexpr, ALONE: tl.constexpr, COUPLED: tl.constexpr, COLUMNS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Solve a problem: one channel of an image, or all three; program (slot, one of `programs`).

    states      (2, slots, 8, h, w): the fields after every other pass
    energies    (slots * programs, iterations)
    counters    (slots, 3, 2), zero
    """
    slot = tl.program_id(0) // programs
    part = tl.program_id(0) % programs
    row, origin, end = places(table, slot)
    if row < 0:
        return
    alone = tl.load(per_channel + row) != 0
    channel = tl.where(alone, part // tiles_alone, 0)
    tiles = tl.where(alone, tiles_alone, tiles_coupled)
    span = tl.where(alone, span_alone, span_coupled)
    size = height * width
    image = x + (origin * 3 + channel) * size
    outputs = (
        u + (slot.to(tl.int64) * 3 + channel) * size,
        y + (end * 3 + channel) * size,
        inside + (row * 3 + channel) * size,
    )
    state = states + (slot.to(tl.int64) * _FIELDS + 3 * channel) * size
    half = slots.to(tl.int64) * _FIELDS * size
    energies += (slot * programs + channel * tiles) * _END
    counters += (slot * 3 + channel) * _COUNTERS
    weight = tl.load(weights + row)
    over = (part >= 3 * tiles_alone) if alone else (part >= tiles_coupled)
    while not over:
        tile, turn, over = take(counters, tiles)
        if not over:
            last, start, count, whose = _plan(energies, tiles, turn, span, PARTS)
            source, target = state + whose % 2 * half, state + (turn + 1) % 2 * half
            shares = energies + tile * _END + start
            if alone:
                _alone(
                    image, weight, source, target, outputs, shares, tile, count, span, whose > 0, last, height, width,
                    CLIP, ALONE, COLUMNS,
                )  # fmt: skip
            else:
                _coupled(
                    image, weight, source, target, outputs, shares, tile, count, span, whose > 0, last, height, width,
                    CLIP, COUPLED, COLUMNS,
                )  # fmt: skip
            report(counters, last)


def solve(part: Part) -> Tensor:
    """Queue the launches that denoise the images of a part; return what they are before a clip, (c, 3, h, w), by slot."""
    n, (height, width) = part.slots, part.size
    shape = tile_shape(part.y)
    rows = (shape.alone, shape.coupled)
    spans = [span(part.y, each, shape.columns) for each in rows]
    tiles = [plane_tiles(part.y, each, shape.columns, count) for each, count in zip(rows, spans, strict=True)]
    programs = max(3 * tiles[0], tiles[1])
    new = part.y.new_empty
    u, states = new(n, 3, height, width), new(2, n, FIELDS, height, width)
    energies = new(n * programs, ITERATIONS - 1, dtype=torch.float64)
    counters = torch.zeros(n, 3, COUNTERS, dtype=torch.int32, device=part.y.device)
    launcher.launch(
        _solve_kernel, n * programs, part.table, part.x, part.params["weight"], part.params["per_channel"], states, energies,
        counters, u, part.y, part.inside, height, width, n, tiles[0], spans[0], tiles[1], spans[1], programs, CLIP=part.clip,
        ALONE=shape.alone, COUPLED=shape.coupled, COLUMNS=shape.columns, PARTS=triton.next_power_of_2(max(tiles)),
        **shape.options,
    )  # fmt: skip
    return u
