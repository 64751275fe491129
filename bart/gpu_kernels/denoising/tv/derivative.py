"""Apply the derivative of total variation denoising, by lagged diffusivity, in one launch: all eight steps on a tile."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
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
def _alone(v, u, weight, out, tile, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Compute a tile of one channel."""
    row, column, own = tile_pixels(tile, height, width, _STEPS, ROWS, COLUMNS)
    inside = (row < height) & (column < width)
    pixel = row * width + column
    solution = tl.load(u + pixel, mask=inside, other=0.0)
    diffusivity = _diffusivity(solution, solution * 0, weight, 4.0 / _HORIZON, row, column, height, width)
    edge_0, edge_1 = _edges(diffusivity, row, column, height, width)
    inverse = 1 / (1 + _ends(edge_0, edge_1, row, column))
    total = tl.load(v + pixel, mask=inside, other=0.0)
    step, residual = total, total * 0
    rho = tl.full([], _RADIUS / _CENTRE, tl.float32)
    for k in range(_STEPS):
        residual += _flow(step, edge_0, edge_1, row, column) - tl.where(k > 0, step, 0.0)
        keep, gain, rho = _gains(k, rho)
        step = step * keep + residual * inverse * gain
        total += step
    tl.store(out + pixel, total, mask=own)


@triton.jit
def _coupled(v, u, weight, out, tile, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Compute a tile of three coupled channels; the sum of the steps is kept where it is stored."""
    size = height * width
    row, column, own = tile_pixels(tile, height, width, _STEPS, ROWS, COLUMNS)
    inside = (row < height) & (column < width)
    pixel = row * width + column
    a = tl.load(u + pixel, mask=inside, other=0.0)
    b = tl.load(u + size + pixel, mask=inside, other=0.0)
    c = tl.load(u + 2 * size + pixel, mask=inside, other=0.0)
    d_a = _diffusivity(a, b - a, weight, 6.0 / _HORIZON, row, column, height, width)
    d_b = _diffusivity(b, c - b, weight, 6.0 / _HORIZON, row, column, height, width)
    d_c = _diffusivity(c, c * 0, weight, 6.0 / _HORIZON, row, column, height, width)
    edge_0, edge_1 = _edges(d_a, row, column, height, width)
    inverse_a = 1 / (1 + _ends(edge_0, edge_1, row, column) + d_a)
    edge_0, edge_1 = _edges(d_b, row, column, height, width)
    inverse_b = 1 / (1 + _ends(edge_0, edge_1, row, column) + d_a + d_b)
    edge_0, edge_1 = _edges(d_c, row, column, height, width)
    inverse_c = 1 / (1 + _ends(edge_0, edge_1, row, column) + d_b)
    step_a = tl.load(v + pixel, mask=inside, other=0.0)
    step_b = tl.load(v + size + pixel, mask=inside, other=0.0)
    step_c = tl.load(v + 2 * size + pixel, mask=inside, other=0.0)
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
    tl.store(out + pixel, total_a, mask=own)
    tl.store(out + size + pixel, total_b, mask=own)
    tl.store(out + 2 * size + pixel, total_c, mask=own)


@triton.jit
def _diffuse_kernel(
    v, u, weights, per_channel, out, height, width, tiles_alone, tiles_coupled, programs,
    ALONE: tl.constexpr, COUPLED: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Make the Chebyshev steps from `v`, with the diffusivity of `u`; program (image, tile of a channel or of all three)."""
    image = tl.program_id(0) // programs
    part = tl.program_id(0) % programs
    weight = tl.load(weights + image)
    start = image.to(tl.int64) * 3 * height * width
    if tl.load(per_channel + image) != 0:
        if part < 3 * tiles_alone:
            start += part // tiles_alone * height * width
            _alone(v + start, u + start, weight, out + start, part % tiles_alone, height, width, ALONE, COLUMNS)
    elif part < tiles_coupled:
        _coupled(v + start, u + start, weight, out + start, part, height, width, COUPLED, COLUMNS)


def diffuse(v: Tensor, u: Tensor, weight: Tensor, per_channel: Tensor) -> Tensor:
    """Return the derivative's product with `v` (n, 3, h, w), at the solution `u`."""
    out, (height, width) = torch.empty_like(u), u.shape[2:]
    shape = tile_shape(u)
    tiles = [plane_tiles(u, rows, shape.columns, STEPS) for rows in (shape.alone, shape.coupled)]
    programs = max(3 * tiles[0], tiles[1])
    launcher.launch(
        _diffuse_kernel, len(u) * programs, v, u, weight, per_channel, out, height, width, *tiles, programs,
        ALONE=shape.alone, COUPLED=shape.coupled, COLUMNS=shape.columns, **shape.options,
    )  # fmt: skip
    return out
