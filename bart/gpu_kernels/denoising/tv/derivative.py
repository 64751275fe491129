"""Apply the derivative of total variation denoising, by lagged diffusivity, in one launch: all eight steps on a tile."""

import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Part
from bart.gpu_kernels.common.rows import places, store_masked
from bart.gpu_kernels.denoising.tv.tiles import above, at_left, at_right, below, plane_tiles, tile_pixels, tile_shape
from bart.transforms.denoising.tv import HORIZON, LOWEST, STEPS

_STEPS, _HORIZON = tl.constexpr(STEPS), tl.constexpr(HORIZON)
_CENTRE, _RADIUS = tl.constexpr((2 + LOWEST) / 2), tl.constexpr((2 - LOWEST) / 2)


@triton.jit
def _diffusivity(u, s2, weight, least, row, column, height, width):
    """Return 1 / (|grad u| / weight + least) of a channel; `s2` is its difference towards the next channel."""
    s0 = tl.where(column < width - 1, at_right(u) - u, 0.0)
    s1 = tl.where(row < height - 1, below(u) - u, 0.0)
    return tl.where((row < height) & (column < width), 1 / (tl.sqrt(s0 * s0 + s1 * s1 + s2 * s2) / weight + least), 0.0)


@triton.jit
def _ends(edge_0, edge_1, row, column):
    """Return the sum of the edges at each pixel, of those to the right and below each pixel."""
    return edge_0 + tl.where(column > 0, at_left(edge_0), 0.0) + edge_1 + tl.where(row > 0, above(edge_1), 0.0)


@triton.jit
def _flow(v, edge_0, edge_1, row, column):
    """Return what flows into each pixel from its neighbours within the plane."""
    flux_0 = edge_0 * (at_right(v) - v)
    flux_1 = edge_1 * (below(v) - v)
    return flux_0 - tl.where(column > 0, at_left(flux_0), 0.0) + flux_1 - tl.where(row > 0, above(flux_1), 0.0)


@triton.jit
def _edges(diffusivity, row, column, height, width):
    """Return the strength of the edges to the right and below."""
    return tl.where(column < width - 1, diffusivity, 0.0), tl.where(row < height - 1, diffusivity, 0.0)


@triton.jit
def _gains(k, rho):
    """Return by what the previous step and the residual are multiplied in step k, and the next rho (Chebyshev)."""
    following = tl.where(k == 0, rho, 1 / (-rho + 2 * _CENTRE / _RADIUS))
    return tl.where(k == 0, 0.0, following * rho), tl.where(k == 0, 1 / _CENTRE, 2 * following / _RADIUS), following


@triton.jit
def _alone(v, u, weight, out, inside, tile, height, width, CLIP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Compute a tile of one channel."""
    row, column, own = tile_pixels(tile, height, width, _STEPS, ROWS, COLUMNS)
    valid = (row < height) & (column < width)
    pixel = row * width + column
    solution = tl.load(u + pixel, mask=valid, other=0.0)
    diffusivity = _diffusivity(solution, solution * 0, weight, 4.0 / _HORIZON, row, column, height, width)
    edge_0, edge_1 = _edges(diffusivity, row, column, height, width)
    inverse = 1 / (1 + _ends(edge_0, edge_1, row, column))
    total = tl.load(v + pixel, mask=valid, other=0.0)
    step, residual = total, total * 0
    rho = tl.full([], _RADIUS / _CENTRE, tl.float32)
    for k in range(_STEPS):
        residual += _flow(step, edge_0, edge_1, row, column) - tl.where(k > 0, step, 0.0)
        keep, gain, rho = _gains(k, rho)
        step = step * keep + residual * inverse * gain
        total += step
    store_masked(out, inside, pixel, total, own, CLIP)


@triton.jit
def _coupled(v, u, weight, out, inside, tile, height, width, CLIP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Compute a tile of three coupled channels."""
    size = height * width
    row, column, own = tile_pixels(tile, height, width, _STEPS, ROWS, COLUMNS)
    valid = (row < height) & (column < width)
    pixel = row * width + column
    a = tl.load(u + pixel, mask=valid, other=0.0)
    b = tl.load(u + size + pixel, mask=valid, other=0.0)
    c = tl.load(u + 2 * size + pixel, mask=valid, other=0.0)
    d_a = _diffusivity(a, b - a, weight, 6.0 / _HORIZON, row, column, height, width)
    d_b = _diffusivity(b, c - b, weight, 6.0 / _HORIZON, row, column, height, width)
    d_c = _diffusivity(c, c * 0, weight, 6.0 / _HORIZON, row, column, height, width)
    edge_0, edge_1 = _edges(d_a, row, column, height, width)
    inverse_a = 1 / (1 + _ends(edge_0, edge_1, row, column) + d_a)
    edge_0, edge_1 = _edges(d_b, row, column, height, width)
    inverse_b = 1 / (1 + _ends(edge_0, edge_1, row, column) + d_a + d_b)
    edge_0, edge_1 = _edges(d_c, row, column, height, width)
    inverse_c = 1 / (1 + _ends(edge_0, edge_1, row, column) + d_b)
    step_a = tl.load(v + pixel, mask=valid, other=0.0)
    step_b = tl.load(v + size + pixel, mask=valid, other=0.0)
    step_c = tl.load(v + 2 * size + pixel, mask=valid, other=0.0)
    rest_a, rest_b, rest_c = a * 0, a * 0, a * 0
    total_a, total_b, total_c = step_a, step_b, step_c
    rho = tl.full([], _RADIUS / _CENTRE, tl.float32)
    for k in range(_STEPS):
        onward, last = d_a * (step_b - step_a), d_b * (step_c - step_b)
        edge_0, edge_1 = _edges(d_a, row, column, height, width)
        rest_a += _flow(step_a, edge_0, edge_1, row, column) + onward - tl.where(k > 0, step_a, 0.0)
        edge_0, edge_1 = _edges(d_b, row, column, height, width)
        rest_b += _flow(step_b, edge_0, edge_1, row, column) + last - onward - tl.where(k > 0, step_b, 0.0)
        edge_0, edge_1 = _edges(d_c, row, column, height, width)
        rest_c += _flow(step_c, edge_0, edge_1, row, column) - last - tl.where(k > 0, step_c, 0.0)
        keep, gain, rho = _gains(k, rho)
        step_a = step_a * keep + rest_a * inverse_a * gain
        step_b = step_b * keep + rest_b * inverse_b * gain
        step_c = step_c * keep + rest_c * inverse_c * gain
        total_a, total_b, total_c = total_a + step_a, total_b + step_b, total_c + step_c
    store_masked(out, inside, pixel, total_a, own, CLIP)
    store_masked(out, inside, size + pixel, total_b, own, CLIP)
    store_masked(out, inside, 2 * size + pixel, total_c, own, CLIP)


@triton.jit
def _diffuse_kernel(
    table, v, u, weights, per_channel, out, inside, height, width, tiles_alone, tiles_coupled, programs,
    CLIP: tl.constexpr, ALONE: tl.constexpr, COUPLED: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Make the Chebyshev steps from `v`, with the diffusivity of `u`; program (slot, tile of a channel or of all three)."""
    slot = tl.program_id(0) // programs
    part = tl.program_id(0) % programs
    row, _, _ = places(table, slot)
    if row < 0:
        return
    weight = tl.load(weights + row)
    size = height * width
    here, mine = slot.to(tl.int64) * 3 * size, row * 3 * size
    if tl.load(per_channel + row) != 0:
        if part < 3 * tiles_alone:
            here += part // tiles_alone * size
            mine += part // tiles_alone * size
            tile = part % tiles_alone
            _alone(v + mine, u + here, weight, out + mine, inside + mine, tile, height, width, CLIP, ALONE, COLUMNS)
    elif part < tiles_coupled:
        _coupled(v + mine, u + here, weight, out + mine, inside + mine, part, height, width, CLIP, COUPLED, COLUMNS)


def diffuse(part: Part, u: Tensor) -> None:
    """Queue the launch that multiplies the gradient of a part by the derivative, at the solutions `u` (c, 3, h, w)."""
    assert part.gradient is not None
    shape = tile_shape(u)
    tiles = [plane_tiles(u, rows, shape.columns, STEPS) for rows in (shape.alone, shape.coupled)]
    programs = max(3 * tiles[0], tiles[1])
    launcher.launch(
        _diffuse_kernel, part.slots * programs, part.table, part.gradient, u, part.params["weight"], part.params["per_channel"],
        part.y, part.inside, *part.size, *tiles, programs,
        CLIP=part.clip, ALONE=shape.alone, COUPLED=shape.coupled, COLUMNS=shape.columns, **shape.options,
    )  # fmt: skip
