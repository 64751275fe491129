"""Find an image by its row of a table, and end a kernel: clip and mark what was not clipped, or mask a gradient.

Kernels neither move images together nor put them back: a table says, for each slot of a launch, which row of the stack it has,
where the image is read and where the result goes. Offsets are 64 bits wide, as stacks have more than 2^31 values.
"""

import triton
import triton.language as tl

COLUMNS = 4
"""Columns of a table: row, source, target, kind."""

_COLUMNS = tl.constexpr(COLUMNS)


@triton.jit
def places(table, slot):
    """Return the row of a slot (-1: it has no image), where its image is read, and where its result goes, all int64."""
    line = table + slot.to(tl.int64) * _COLUMNS
    return tl.load(line).to(tl.int64), tl.load(line + 1).to(tl.int64), tl.load(line + 2).to(tl.int64)


@triton.jit
def plane_places(table, plane):
    """Return the same of plane `plane` % 3 of slot `plane` // 3, counted in planes; -1 first if the slot has no image."""
    row, source, target = places(table, plane // 3)
    channel = plane % 3
    return tl.where(row < 0, -1, row * 3 + channel), source * 3 + channel, target * 3 + channel


@triton.jit
def kind_of(table, slot):
    """Return the kind of a slot, int32."""
    return tl.load(table + slot.to(tl.int64) * _COLUMNS + 3)


@triton.jit
def store_clipped(y, inside, there, marked, value, valid, CLIP: tl.constexpr):
    """Store values at `there` in `y`: with CLIP in [0, 1], and at `marked` in `inside` whether clipping changed nothing."""
    if CLIP:
        clipped = tl.where(value > 1, 1.0, tl.where(value < 0, 0.0, value))  # unlike a minimum, this keeps NaN
        tl.store(y + there, clipped, mask=valid)
        tl.store(inside + marked, (value == clipped).to(tl.uint8), mask=valid)
    else:
        tl.store(y + there, value, mask=valid)


@triton.jit
def store_masked(out, inside, there, value, valid, CLIP: tl.constexpr):
    """Store a gradient at `there`: with CLIP zero where clipping changed the image from which the derivative is taken."""
    if CLIP:
        value *= tl.load(inside + there, mask=valid, other=0).to(tl.float32)
    tl.store(out + there, value, mask=valid)
