"""Apply the derivative of total variation denoising, by lagged diffusivity, in one launch.

It is cut into strips like the iterations, with the rows that its eight steps reach.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.denoising.tv.strips import SCHEDULE, UNSPECIALISED, cut_strips, load_right_below, strip_of_program
from bart.transforms.denoising.tv import HORIZON, LOWEST, STEPS

BACKWARD = 1024
"""Pixels that a program works on at a time."""

_STEPS, _HORIZON = tl.constexpr(STEPS), tl.constexpr(HORIZON)
_CENTRE, _RADIUS = tl.constexpr((2 + LOWEST) / 2), tl.constexpr((2 - LOWEST) / 2)


@triton.jit
def _diffusivity(u, out, stride, first, last, size, weight, alone, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Store 1 / (|grad u| / weight + 1 / (HORIZON tau)) of one channel or three."""
    least = tl.where(alone, 4.0, 6.0) / _HORIZON
    for c in range(tl.where(alone, 1, 3)):
        for start in range(first, last, BLOCK):
            i = start + tl.arange(0, BLOCK)
            here = i < last
            plane = u + c * size
            u_here, u_right, u_below = load_right_below(plane, i, here, here & (i + 1 < size), here & (i + WIDTH < size), WIDTH)
            deeper = here & (c < 2) & (not alone)
            s0 = tl.where(i % WIDTH < WIDTH - 1, u_right - u_here, 0.0)
            s1 = tl.where(i + WIDTH < size, u_below - u_here, 0.0)
            s2 = tl.where(deeper, tl.load(plane + size + i, mask=deeper, other=0.0) - u_here, 0.0)
            tl.store(out + c * stride + i, 1 / (tl.sqrt(s0 * s0 + s1 * s1 + s2 * s2) / weight + least), mask=here)


@triton.jit
def _flux(v, edge, shift, i, there, centre):
    """Return the flow into the pixels i from those `shift` away, where `there`, and the strength of the edge between them."""
    strength = tl.load(edge + i, mask=there, other=0.0)
    return strength * (tl.load(v + i + shift, mask=there, other=0.0) - centre), strength


@triton.jit
def _step(
    v, v_stride, d, d_stride, residual, to, out, first, last, own_first, own_last, size, k, keep, gain, alone,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Make the k-th step from the previous one, `v`; step 0 starts from the cotangent.

    `residual` and `to` have the layout of `d`.
    """
    for c in range(tl.where(alone, 1, 3)):
        step, edge = v + c * v_stride, d + c * d_stride
        for start in range(first, last, BLOCK):
            i = start + tl.arange(0, BLOCK)
            here = i < last
            column = i % WIDTH
            centre = tl.load(step + i, mask=here, other=0.0)
            right, e_right = _flux(step, edge, 1, i, here & (column < WIDTH - 1), centre)
            left, e_left = _flux(step, edge - 1, -1, i, here & (column > 0), centre)
            below, e_below = _flux(step, edge, WIDTH, i, here & (i + WIDTH < size), centre)
            above, e_above = _flux(step, edge - WIDTH, -WIDTH, i, here & (i >= WIDTH), centre)
            onward, e_onward = _flux(step, edge, v_stride, i, here & (c < 2) & (not alone), centre)
            back, e_back = _flux(step, edge - d_stride, -v_stride, i, here & (c > 0), centre)
            degree = 1 + e_right + e_left + e_below + e_above + e_onward + e_back
            old = tl.load(residual + c * d_stride + i, mask=here & (k > 0), other=0.0) - tl.where(k > 0, centre, 0.0)
            new = old + (right + left + below + above + onward + back)
            tl.store(residual + c * d_stride + i, new, mask=here)
            new = tl.where(k > 0, centre, 0.0) * keep + new / degree * gain
            tl.store(to + c * d_stride + i, new, mask=here)
            mine = here & (i >= own_first) & (i < own_last)
            total = tl.where(k > 0, tl.load(out + c * size + i, mask=mine & (k > 0), other=0.0), centre)
            tl.store(out + c * size + i, total + new, mask=mine)


@triton.jit(do_not_specialize=UNSPECIALISED)
def _diffuse_kernel(v, u, weights, per_channel, scratch, out, height, strips, room, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Make the Chebyshev steps from `v`, with the diffusivity of `u`; `scratch` (programs, 4, room)."""
    program = tl.program_id(0)
    image, alone, channel, strip, parts = strip_of_program(per_channel, height, strips)
    size = height * WIDTH
    weight = tl.load(weights + image)
    plane = (image * 3 + channel).to(tl.int64) * size
    top = strip * height // parts
    bottom = (strip + 1) * height // parts
    stride = (tl.cdiv(height, parts) + 2 * _STEPS) * WIDTH
    d = scratch + program.to(tl.int64) * 4 * room - (top - _STEPS) * WIDTH
    residual, local = d + room, d + 2 * room
    first = tl.maximum(top - _STEPS, 0) * WIDTH
    last = tl.minimum(bottom + _STEPS, height) * WIDTH
    _diffusivity(u + plane, d, stride, first, last, size, weight, alone, WIDTH, BLOCK)

    step, step_stride = v + plane, size
    rho = tl.full([], _RADIUS / _CENTRE, tl.float32)
    keep = tl.full([], 0.0, tl.float32)
    gain = tl.full([], 1 / _CENTRE, tl.float32)
    for k in range(_STEPS):
        tl.debug_barrier()
        to = local + k % 2 * room
        reach = _STEPS - 1 - k
        first = tl.maximum(top - reach, 0) * WIDTH
        last = tl.minimum(bottom + reach, height) * WIDTH
        _step(
            step, step_stride, d, stride, residual, to, out + plane, first, last, top * WIDTH, bottom * WIDTH, size,
            k, keep, gain, alone, WIDTH, BLOCK,
        )  # fmt: skip
        step, step_stride = to, stride
        keep = rho
        rho = 1 / (-rho + 2 * _CENTRE / _RADIUS)
        keep = keep * rho
        gain = 2 * rho / _RADIUS


def diffuse(v: Tensor, u: Tensor, weight: Tensor, per_channel: Tensor) -> Tensor:
    """Return the derivative's product with `v` (n, 3, h, w), at the solution `u`."""
    strips, programs, room = cut_strips(u, STEPS, 1, 3)
    out, scratch = torch.empty_like(u), u.new_empty(programs, 4, room)
    launcher.launch(
        _diffuse_kernel, programs, v, u, weight, per_channel, scratch, out, u.shape[2], strips, room,
        WIDTH=u.shape[3], BLOCK=BACKWARD, **SCHEDULE,
    )  # fmt: skip
    return out
