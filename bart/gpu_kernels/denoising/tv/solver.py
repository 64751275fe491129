"""Make Chambolle's iterations, a few in each launch.

A launch stores the fields that it has reached, and each strip's share of the energy of each iteration. The next launch adds up
the shares; all strips of a problem do so alike. If the problem has stopped meanwhile, it takes the fields from before the last
launch, which are still there, repeats the iterations up to the stop and writes the image. Later launches end at once. So a
call takes 13 launches for any images, and the host never waits for the device.

An iteration is one sweep over the rows. The divergence of a pixel and of its neighbours to the right and below is computed
from the fields anew: this costs loads from the first-level cache, but neither memory nor a barrier. Fields are numbered 3
channel + axis, for columns, rows and channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.denoising.tv.strips import PARTS, SCHEDULE, UNSPECIALISED, cut_strips, load_right_below, strip_of_program
from bart.transforms.denoising.tv import EPSILON, ITERATIONS

STARTS, LONGEST = (0, 8, 16, 24, 32, 48, 64, 88, 112, 136, 160, 184), 24
"""The first iteration of each launch, and the most iterations of a launch.

Most images stop before the fortieth iteration. The later launches, which few images need, are longer, with more rows that other
strips compute as well.
"""
FIELDS = 8
"""Fields of an image; the last channel has none towards a next one."""
ALONE, COUPLED = 1024, 512
"""Pixels that a program works on at a time: as many as keep their loads in flight within the registers."""

_PARTS, _FIELDS, _SPAN = tl.constexpr(PARTS), tl.constexpr(FIELDS), tl.constexpr(32)
_EPSILON, _END = tl.constexpr(EPSILON), tl.constexpr(ITERATIONS - 1)


@triton.jit
def _stop(energies, parts, begin, end):
    """Return the first iteration from `begin` to `end` in which the problem stops, else the one after the last of all.

    `energies` are those of the problem's first strip.
    """
    part = tl.arange(0, _PARTS)[:, None]
    iteration = begin + tl.arange(0, _SPAN)[None, :]
    valid = (part < parts) & (iteration < end)
    row = energies + part * _END
    energy = tl.sum(tl.load(row + iteration, mask=valid, other=0.0), axis=0)
    previous = tl.sum(tl.load(row + iteration - 1, mask=valid & (iteration > 0), other=0.0), axis=0)
    first = tl.sum(tl.load(row + iteration * 0, mask=valid, other=0.0), axis=0)
    iteration = begin + tl.arange(0, _SPAN)
    stops = tl.where(iteration == 0, energy <= 0, tl.abs(previous - energy) < first * _EPSILON)
    return tl.min(tl.where(stops & (iteration < end), iteration, _END))


@triton.jit
def _divergences(q, stride, i, here, right, below, WIDTH: tl.constexpr):
    """Return a channel's two fields within the plane at i, and their divergence at i, to the right and below.

    The last column of a field is zero, so a row's first pixel may use it, in the row above, as its left neighbour.
    """
    q0, q0_right, q0_below = load_right_below(q, i, here, right, below, WIDTH)
    q1, q1_right, q1_below = load_right_below(q + stride, i, here, right, below, WIDTH)
    q0_left = tl.load(q + i - 1, mask=here & (i > 0), other=0.0)
    q0_corner = tl.load(q + i + WIDTH - 1, mask=below, other=0.0)
    above = q + stride - WIDTH
    q1_above = tl.load(above + i, mask=here & (i >= WIDTH), other=0.0)
    q1_corner = tl.load(above + i + 1, mask=right & (i >= WIDTH), other=0.0)
    return q0, q1, q0 + q1 - q0_left - q1_above, q0_right + q1_right - q0 - q1_corner, q0_below + q1_below - q0_corner - q1


@triton.jit
def _slopes(x, divergence, at_right, below, tau, scale, i, here, size, WIDTH: tl.constexpr):
    """Return u = tau divergence + scale x at the pixels i, and its differences to the right and below; zero at the ends."""
    x_here, x_right, x_below = load_right_below(x, i, here, here & (i + 1 < size), here & (i + WIDTH < size), WIDTH)
    u = tau * divergence + scale * x_here
    s0 = tl.where(i % WIDTH < WIDTH - 1, tau * at_right + scale * x_right - u, 0.0)
    s1 = tl.where(i + WIDTH < size, tau * below + scale * x_below - u, 0.0)
    return u, s0, s1


@triton.jit
def _store(out, stride, i, here, q0, q1, s0, s1, norm):
    """Store the step of a channel's two fields within the plane; return the factor by which fields are multiplied."""
    shrink = 1 / (1 + norm)
    tl.store(out + i, (q0 + s0) * shrink, mask=here)
    tl.store(out + stride + i, (q1 + s1) * shrink, mask=here)
    return shrink


@triton.jit
def _masks(i, last, size, live, WIDTH: tl.constexpr):
    """Return where the pixels i, those to the right and those below can have fields that are not zero."""
    here = (i < last) & live
    return here, here & (i + 1 < size), here & (i + WIDTH < size)


@triton.jit
def _sweep_alone(
    x, q, stride, out, out_stride, first, last, own_first, own_last, size, live, scale, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    """Make one iteration of one channel on the pixels from `first` to `last`.

    Returns the energy, over tau, of the strip's own pixels.
    """
    energy = tl.zeros([BLOCK], tl.float32)
    for start in range(first, last, BLOCK):
        i = start + tl.arange(0, BLOCK)
        inside = i < last
        here, right, below = _masks(i, last, size, live, WIDTH)
        q0, q1, d, d_right, d_below = _divergences(q, stride, i, here, right, below, WIDTH)
        _, s0, s1 = _slopes(x, d, d_right, d_below, 0.25, scale, i, inside, size, WIDTH)
        norm = tl.sqrt(s0 * s0 + s1 * s1)
        _store(out, out_stride, i, inside, q0, q1, s0, s1, norm)
        energy += tl.where((i >= own_first) & (i < own_last), 0.25 * d * d + norm, 0.0)
    return tl.sum(energy.to(tl.float64))


@triton.jit
def _sweep_coupled(
    x, q, stride, out, out_stride, first, last, own_first, own_last, size, live, scale, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    """Make one iteration of three coupled channels; as `_sweep_alone`."""
    tau = 1 / 6
    energy = tl.zeros([BLOCK], tl.float32)
    for start in range(first, last, BLOCK):
        i = start + tl.arange(0, BLOCK)
        inside = i < last
        here, right, below = _masks(i, last, size, live, WIDTH)
        a0, a1, d, d_right, d_below = _divergences(q, stride, i, here, right, below, WIDTH)
        b0, b1, e, e_right, e_below = _divergences(q + 3 * stride, stride, i, here, right, below, WIDTH)
        c0, c1, f, f_right, f_below = _divergences(q + 6 * stride, stride, i, here, right, below, WIDTH)
        a2, a2_right, a2_below = load_right_below(q + 2 * stride, i, here, right, below, WIDTH)
        b2, b2_right, b2_below = load_right_below(q + 5 * stride, i, here, right, below, WIDTH)
        d, d_right, d_below = d + a2, d_right + a2_right, d_below + a2_below
        e, e_right, e_below = e + b2 - a2, e_right + b2_right - a2_right, e_below + b2_below - a2_below
        f, f_right, f_below = f - b2, f_right - b2_right, f_below - b2_below

        u_a, s0_a, s1_a = _slopes(x, d, d_right, d_below, tau, scale, i, inside, size, WIDTH)
        u_b, s0_b, s1_b = _slopes(x + size, e, e_right, e_below, tau, scale, i, inside, size, WIDTH)
        u_c, s0_c, s1_c = _slopes(x + 2 * size, f, f_right, f_below, tau, scale, i, inside, size, WIDTH)
        s2_a, s2_b = u_b - u_a, u_c - u_b
        norm_a = tl.sqrt(s0_a * s0_a + s1_a * s1_a + s2_a * s2_a)
        norm_b = tl.sqrt(s0_b * s0_b + s1_b * s1_b + s2_b * s2_b)
        norm_c = tl.sqrt(s0_c * s0_c + s1_c * s1_c)

        shrink_a = _store(out, out_stride, i, inside, a0, a1, s0_a, s1_a, norm_a)
        shrink_b = _store(out + 3 * out_stride, out_stride, i, inside, b0, b1, s0_b, s1_b, norm_b)
        _store(out + 6 * out_stride, out_stride, i, inside, c0, c1, s0_c, s1_c, norm_c)
        tl.store(out + 2 * out_stride + i, (a2 + s2_a) * shrink_a, mask=inside)
        tl.store(out + 5 * out_stride + i, (b2 + s2_b) * shrink_b, mask=inside)
        energies = tau * (d * d + e * e + f * f) + (norm_a + norm_b + norm_c)
        energy += tl.where((i >= own_first) & (i < own_last), energies, 0.0)
    return tl.sum(energy.to(tl.float64))


@triton.jit
def _denoised(x, q, stride, out, first, last, size, live, weight, alone, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Store x + weight divergence, of one channel or three."""
    for c in range(tl.where(alone, 1, 3)):
        field = q + 3 * c * stride
        for start in range(first, last, BLOCK):
            i = start + tl.arange(0, BLOCK)
            here = (i < last) & live
            divergence = tl.load(field + i, mask=here, other=0.0) + tl.load(field + stride + i, mask=here, other=0.0)
            divergence += tl.load(field + 2 * stride + i, mask=here & (c < 2) & (not alone), other=0.0)
            divergence -= tl.load(field + i - 1, mask=here & (i > 0), other=0.0)
            divergence -= tl.load(field + stride + i - WIDTH, mask=here & (i >= WIDTH), other=0.0)
            divergence -= tl.load(field - stride + i, mask=here & (c > 0), other=0.0)
            tl.store(out + c * size + i, tl.load(x + c * size + i, mask=i < last) + weight * divergence, mask=i < last)


@triton.jit(do_not_specialize=UNSPECIALISED)
def _iterate_kernel(
    x, weights, per_channel, states, scratch, energies, done, out, height, strips, room, before, begin, end, turn,
    WIDTH: tl.constexpr, ALONE: tl.constexpr, COUPLED: tl.constexpr,
):  # fmt: skip
    """Make the iterations from `begin` to `end`; or, after a stop, those from `before` up to the stop, and write the image.

    states      (2, n, 8, h, w), of which `turn` is to be read
    scratch     (programs, 2, room)
    energies    (programs, iterations)
    before      the iteration with which the last launch began
    """
    program = tl.program_id(0)
    image, alone, channel, strip, parts = strip_of_program(per_channel, height, strips)
    if begin == 0:
        tl.store(done + program, 0)
    if tl.load(done + program, mask=begin > 0, other=0) == 0:
        stop = _stop(energies + (program - strip) * _END, parts, before, begin)
        stopping = stop <= begin
        begin = tl.where(stopping, before, begin)
        count = tl.where(stopping, stop, end) - begin
        source = tl.where(stopping, 1 - turn, turn)

        size = height * WIDTH
        weight = tl.load(weights + image)
        scale = tl.where(alone, 1 / 4, 1 / 6) / weight
        plane = (image * 3 + channel).to(tl.int64) * size
        top = strip * height // parts
        bottom = (strip + 1) * height // parts
        own_first, own_last = top * WIDTH, bottom * WIDTH
        half = (tl.num_programs(0) // (3 * strips)).to(tl.int64) * _FIELDS * size
        state = states + (image.to(tl.int64) * _FIELDS + 3 * channel) * size
        q, stride = state + source * half, size
        local_stride = (tl.cdiv(height, parts) + 2 * count) * WIDTH
        local = scratch + program.to(tl.int64) * 2 * room - (top - count) * WIDTH
        for j in range(count):
            rest = count - 1 - j
            onward = (rest == 0) & (stopping == 0)
            to = tl.where(onward, state + (1 - turn) * half, local + j % 2 * room)
            to_stride = tl.where(onward, size, local_stride)
            reach = rest + stopping.to(tl.int32)  # the image needs the fields of the row above
            first = tl.maximum(top - reach, 0) * WIDTH
            last = tl.minimum(bottom + reach, height) * WIDTH
            live = begin + j > 0
            if alone:
                energy = _sweep_alone(
                    x + plane, q, stride, to, to_stride, first, last, own_first, own_last, size, live, scale, WIDTH, ALONE
                )
            else:
                energy = _sweep_coupled(
                    x + plane, q, stride, to, to_stride, first, last, own_first, own_last, size, live, scale, WIDTH, COUPLED
                )
            tl.store(energies + program * _END + begin + j, energy, mask=stopping == 0)
            tl.debug_barrier()
            q, stride = to, to_stride
        if stopping:
            _denoised(x + plane, q, stride, out + plane, own_first, own_last, size, stop > 0, weight, alone, WIDTH, ALONE)
            tl.store(done + program, 1)


def solve(x: Tensor, weight: Tensor, per_channel: Tensor) -> Tensor:
    """Return the denoised images (n, 3, h, w)."""
    n, _, height, width = x.shape
    strips, programs, room = cut_strips(x, LONGEST, 2, FIELDS)
    out = torch.empty_like(x)
    states, scratch = x.new_empty(2, n, FIELDS, height, width), x.new_empty(programs, 2, room)
    energies = x.new_empty(programs, ITERATIONS - 1, dtype=torch.float64)
    done = x.new_empty(programs, dtype=torch.int32)
    bounds = (0, *STARTS, ITERATIONS - 1, ITERATIONS - 1)
    for k in range(len(STARTS) + 1):
        launcher.launch(
            _iterate_kernel, programs, x, weight, per_channel, states, scratch, energies, done, out,
            height, strips, room, *bounds[k : k + 3], k % 2, WIDTH=width, ALONE=ALONE, COUPLED=COUPLED, **SCHEDULE,
        )  # fmt: skip
    return out
