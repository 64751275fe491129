"""Denoise by total variation on a CPU, compiled: what `bart.transforms.denoising.tv` defines, with the same bits.

An iteration is one pass over the image. Its sums, which decide when a problem stops, are NumPy's own. Fields are flat lines
with a margin of a row on either side, where a shift in two dimensions is one number. Each loop runs over slices that count from
zero and writes one of them: only such a loop becomes vector instructions.

A problem has c planes: one channel, or three with the colour axis as a third one.
"""

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled

CHUNK = 1024
"""Pixels that are computed together, at least a row: what stays in the first-level cache."""


def solve(x: Image, weight: float, tau: float, iterations: int, epsilon: float) -> Image:
    """Return the denoised `x` (c, h, w) float32; c > 1 planes are one problem.

    It stops after `iterations` steps, or when its energy changes by less than `epsilon` of the first one.
    """
    c, h, w = x.shape
    x = np.ascontiguousarray(x)
    start = (x * (tau / weight)).reshape(c, -1)
    fields = np.zeros((3, c + 1, (h + 2) * w), np.float32)  # what stands before the first plane stays zero
    divergence, squares, norm = (np.empty_like(start) for _ in range(3))
    u = np.zeros((c, (h + 1) * w + 1), np.float32)
    first = previous = np.float32(0)
    for i in range(iterations + 1):
        _sweep(fields, start, np.float32(tau), w, divergence, squares, norm, u)
        sums = tau * squares.sum(axis=1) + norm.sum(axis=1)
        energy = sums[0] + (sums.mean() - sums[0])
        if i == 0:
            first, active = energy, energy > 0
        else:
            active = abs(previous - energy) >= epsilon * first
        if not active:
            break
        previous = energy
    return x + weight * divergence.reshape(x.shape)


def diffuse(v: Image, u: Image, weight: float, floor: float, steps: list[tuple[float, float]], centre: float) -> Image:
    """Return about (1 - div d grad)^-1 v for planes (c, h, w), with d = 1 / (|grad u| / weight + floor).

    After the first step, which is divided by `centre`, the others are (factor of the step before, factor of the residual).
    """
    c, h, w = v.shape
    x, step, residual = (np.zeros((c + 1, (h + 2) * w), np.float32) for _ in range(3))
    edges, inside = np.zeros((3, c + 1, (h + 2) * w), np.float32), slice(w, -w)
    x[1:, inside], step[1:, inside] = u.reshape(c, -1), v.reshape(c, -1)
    _conduct(x, np.float32(weight), np.float32(floor), w, edges)
    inverse = 1 / _degrees(edges, w)
    _spread(step, edges, w, residual)
    out = step[1:, inside] + (first := residual[1:, inside] * inverse / np.float32(centre))
    step[1:, inside] = first
    for before, own in steps:
        residual[1:, inside] -= step[1:, inside]
        _spread(step, edges, w, residual)
        _chebyshev(step, residual, inverse, np.float32(before), np.float32(own), w, out)
    return out.reshape(v.shape)


@compiled
def _sweep(fields: Image, start: Image, tau: float, w: int, divergence: Image, squares: Image, norm: Image, u: Image) -> None:
    """Compute the divergence of the fields, its square, u and the magnitude of its gradient; then advance the fields.

    A row of the fields advances when the next row of u is known, which needs this row of the fields as it was.
    """
    c, size = start.shape
    band = max(1, CHUNK // w) * w
    scratch = np.empty((2, band + w), np.float32)
    for top in range(0, size, band):
        end = min(top + band, size)
        here, first, last = top + w, max(top - w, 0), end if end == size else end - w
        for k in range(c):
            x, y, out = fields[0, k + 1, here - 1 :], fields[1, k + 1, top:], divergence[k, top:end]
            if c == 1:
                _diverge(x[1:], x, y[w:], y, out)
            else:
                _diverge3(x[1:], x, y[w:], y, fields[2, k + 1, here:], fields[2, k, here:], out)
            _follow(out, start[k, top:], tau, u[k, top:], squares[k, top:])
            if end == size:
                u[k, end : end + w] = u[k, end - w : end]
        across, deep = scratch[0, : last - first], scratch[1, : last - first]
        for k in range(c):
            own, magnitude = u[k, first:], norm[k, first:]
            _differences(own[1:], own, across)
            across[w - 1 :: w] = 0
            if c == 1:
                _magnitude(across, own, own[w:], magnitude)
            else:
                _differences(u[min(k + 1, c - 1), first:], own, deep)
                _magnitude3(across, own, own[w:], deep, magnitude)
                _advance(fields[2, k + 1, first + w :], deep, magnitude)
            _advance(fields[0, k + 1, first + w :], across, magnitude)
            _differences(own[w:], own, deep)
            _advance(fields[1, k + 1, first + w :], deep, magnitude)


@compiled
def _diverge(x: Image, left: Image, y: Image, above: Image, out: Image) -> None:
    """Compute the divergence of two fields."""
    for i in range(len(out)):
        out[i] = x[i] + y[i] - left[i] - above[i]


@compiled
def _diverge3(x: Image, left: Image, y: Image, above: Image, z: Image, before: Image, out: Image) -> None:
    """Compute the divergence of three fields."""
    for i in range(len(out)):
        out[i] = x[i] + y[i] + z[i] - left[i] - above[i] - before[i]


@compiled
def _follow(divergence: Image, start: Image, tau: float, u: Image, squares: Image) -> None:
    """Compute u and the squared divergence."""
    for i in range(len(divergence)):
        u[i] = divergence[i] * tau + start[i]
        squares[i] = divergence[i] * divergence[i]


@compiled
def _differences(after: Image, own: Image, out: Image) -> None:
    """Compute the differences along an axis."""
    for i in range(len(out)):
        out[i] = after[i] - own[i]


@compiled
def _magnitude(across: Image, own: Image, below: Image, norm: Image) -> None:
    """Compute the magnitude of the gradient along two axes."""
    for i in range(len(across)):
        down = below[i] - own[i]
        norm[i] = np.sqrt(across[i] * across[i] + down * down)


@compiled
def _magnitude3(across: Image, own: Image, below: Image, deep: Image, norm: Image) -> None:
    """Compute the magnitude of the gradient along three axes."""
    for i in range(len(across)):
        down = below[i] - own[i]
        norm[i] = np.sqrt(across[i] * across[i] + down * down + deep[i] * deep[i])


@compiled
def _advance(field: Image, slope: Image, norm: Image) -> None:
    """Move a field one step on."""
    for i in range(len(slope)):
        field[i] = (field[i] + slope[i]) / (norm[i] + np.float32(1))


@compiled
def _conduct(u: Image, weight: float, floor: float, w: int, edges: Image) -> None:
    """Compute the diffusivities between neighbours along each axis, zero where there is no neighbour."""
    c, size = len(u) - 1, u.shape[1] - 2 * w
    scratch, band = np.empty((3, w), np.float32), w
    across, deep, conductivity = scratch[0], scratch[1], scratch[2]
    for k in range(1, c + 1):
        for top in range(w, w + size, band):
            own = u[k, top:]
            below = own[w:] if top < size else own
            _differences(own[1:], own, across)
            across[w - 1] = 0
            if c == 1:
                _magnitude(across, own, below, conductivity)
            else:
                _differences(u[min(k + 1, c), top:], own, deep)
                _magnitude3(across, own, below, deep, conductivity)
                edges[2, k, top : top + w] = 0
            for i in range(w):
                conductivity[i] = np.float32(1) / (conductivity[i] / weight + floor)
            edges[0, k, top : top + w - 1] = conductivity[: w - 1]
            if top < size:
                edges[1, k, top : top + w] = conductivity
            if k < c:
                edges[2, k, top : top + w] = conductivity


@compiled
def _degrees(edges: Image, w: int) -> Image:
    """Return one more than the sum of the edges of each pixel, (c, h w)."""
    c, size = edges.shape[1] - 1, edges.shape[2] - 2 * w
    out = np.empty((c, size), np.float32)
    for k in range(c):
        x, y, own = edges[0, k + 1, w - 1 :], edges[1, k + 1], out[k]
        right, below = x[1:], y[w:]
        for i in range(size):
            own[i] = np.float32(1) + right[i] + x[i] + below[i] + y[i]
        if c > 1:
            z, before = edges[2, k + 1, w:], edges[2, k, w:]
            for i in range(size):
                own[i] = own[i] + z[i] + before[i]
    return out


@compiled
def _spread(x: Image, edges: Image, w: int, out: Image) -> None:
    """Add div d grad x to `out`."""
    c, size = len(x) - 1, x.shape[1] - 2 * w
    for top in range(w, w + size, CHUNK):
        length = min(CHUNK, w + size - top)
        for k in range(1, c + 1):
            own, total = x[k, top:], out[k, top : top + length]
            _flow(x[k, top - 1 :], own, own[1:], edges[0, k, top - 1 :], edges[0, k, top:], total)
            _flow(x[k, top - w :], own, own[w:], edges[1, k, top - w :], edges[1, k, top:], total)
            if c > 1:
                _flow(x[k - 1, top:], own, x[min(k + 1, c), top:], edges[2, k - 1, top:], edges[2, k, top:], total)


@compiled
def _flow(before: Image, own: Image, after: Image, edge: Image, next_edge: Image, out: Image) -> None:
    """Add what flows in along an axis."""
    for i in range(len(out)):
        out[i] = out[i] + (after[i] - own[i]) * next_edge[i] - (own[i] - before[i]) * edge[i]


@compiled
def _chebyshev(step: Image, residual: Image, inverse: Image, before: float, own: float, w: int, out: Image) -> None:
    """Compute the next step, and add it."""
    for k in range(len(out)):
        steps, rest, scale, total = step[k + 1, w:], residual[k + 1, w:], inverse[k], out[k]
        for i in range(len(total)):
            steps[i] = steps[i] * before + rest[i] * scale[i] * own
        for i in range(len(total)):
            total[i] += steps[i]
