"""Apply the transforms that see one pixel at a time in one launch: each slot of the table says which of them its image meets.

A program takes a block of pixels of one image with their three channels, and reads that image's numbers once.
"""

from collections.abc import Mapping
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Kernel, Part, Saved, straight
from bart.gpu_kernels.common.rows import kind_of, places, store_clipped, store_masked
from bart.gpu_kernels.pointwise.color_space.transform import shifted, shifted_backward
from bart.gpu_kernels.pointwise.grey import mixed, quantised
from bart.gpu_kernels.pointwise.noise import noisy, noisy_backward
from bart.types import Params

BLOCK = 512
"""Pixels of a program of four warps: a thread has four of each channel, which are one load."""
NUMBERS = {
    "color_precision": ("scale",),
    "grey_mix": ("ratio",),
    "grey_partial_mix": ("ratio", "keep"),
    "grey_two_thirds": ("channel", "ratio"),
    "grey_one_channel": ("channel", "ratio", "mix"),
    "hsv": ("position",),
    "xyz": ("position",),
    "lab": ("position",),
    "yuv": ("position",),
    "noise": ("kind",),
}
"""The parameters of each transform that are numbers, in the order in which they stand in an image's record."""
RECORD = 6
"""Numbers of a record."""
KINDS = tuple(NUMBERS)
"""What the column `kind` of a table counts; one more is the derivative of the identity."""

_RECORD, _IDENTITY = tl.constexpr(RECORD), tl.constexpr(len(KINDS))
_PRECISION, _MIX, _PARTIAL, _TWO, _ONE = (tl.constexpr(i) for i in range(5))
_HSV, _XYZ, _LAB, _YUV, _NOISE = (tl.constexpr(i) for i in range(5, 10))


@triton.jit
def _item(table, size, KIND: tl.constexpr, BLOCK: tl.constexpr):
    """Return this program's slot, the kind of transform, its pixels, and which exist. KIND -1: the table says it."""
    blocks = tl.cdiv(size, BLOCK)
    slot = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    if KIND < 0:
        return slot, kind_of(table, slot), pixel, pixel < size
    else:
        return slot, KIND, pixel, pixel < size


@triton.jit
def _load(x, here, size, valid):
    """Return red, green and blue of the pixels `here`."""
    red = tl.load(x + here, mask=valid, other=0.0)
    green = tl.load(x + size + here, mask=valid, other=0.0)
    blue = tl.load(x + 2 * size + here, mask=valid, other=0.0)
    return red, green, blue


@triton.jit
def _record(numbers, rows, row, kind, KIND: tl.constexpr):
    """Return where the numbers of a row are among those of all kinds, or of one."""
    if KIND < 0:
        return numbers + (kind * rows + row) * _RECORD
    else:
        return numbers + row * _RECORD


@triton.jit
def _in_space(r, g, b, record, kind):
    """Return pixels after the offset in the colour space of a kind."""
    at_0, at_1, at_2 = tl.load(record), tl.load(record + 1), tl.load(record + 2)
    if kind == _HSV:
        r, g, b = shifted(r, g, b, at_0, at_1, at_2, "hsv")
    elif kind == _XYZ:
        r, g, b = shifted(r, g, b, at_0, at_1, at_2, "xyz")
    elif kind == _LAB:
        r, g, b = shifted(r, g, b, at_0, at_1, at_2, "lab")
    else:
        r, g, b = shifted(r, g, b, at_0, at_1, at_2, "yuv")
    return r, g, b


@triton.jit
def _in_space_backward(r, g, b, g_0, g_1, g_2, record, kind):
    """Return the gradient of `_in_space`."""
    at_0, at_1, at_2 = tl.load(record), tl.load(record + 1), tl.load(record + 2)
    if kind == _HSV:
        g_0, g_1, g_2 = shifted_backward(r, g, b, g_0, g_1, g_2, at_0, at_1, at_2, "hsv")
    elif kind == _XYZ:
        g_0, g_1, g_2 = shifted_backward(r, g, b, g_0, g_1, g_2, at_0, at_1, at_2, "xyz")
    elif kind == _LAB:
        g_0, g_1, g_2 = shifted_backward(r, g, b, g_0, g_1, g_2, at_0, at_1, at_2, "lab")
    else:
        g_0, g_1, g_2 = shifted_backward(r, g, b, g_0, g_1, g_2, at_0, at_1, at_2, "yuv")
    return g_0, g_1, g_2


@triton.jit
def _forward_kernel(
    table, x, y, inside, numbers, seeds, rows, size, KIND: tl.constexpr, CLIP: tl.constexpr, BLOCK: tl.constexpr
):
    """Compute the transformed pixels of a block."""
    slot, kind, pixel, valid = _item(table, size, KIND, BLOCK)
    row, source, target = places(table, slot)
    if row < 0:
        return
    r, g, b = _load(x, source * 3 * size + pixel, size, valid)
    record = _record(numbers, rows, row, kind, KIND)
    if kind == _PRECISION:
        r, g, b = quantised(r, tl.load(record)), quantised(g, tl.load(record + 1)), quantised(b, tl.load(record + 2))
    elif kind == _MIX:
        r, g, b = mixed(r, g, b, record, "mix", False)
    elif kind == _PARTIAL:
        r, g, b = mixed(r, g, b, record, "partial_mix", False)
    elif kind == _TWO:
        r, g, b = mixed(r, g, b, record, "two_thirds", False)
    elif kind == _ONE:
        r, g, b = mixed(r, g, b, record, "one_channel", False)
    elif kind == _NOISE:
        seed, noise = tl.load(seeds + row), tl.load(record).to(tl.int32)
        r, g, b = noisy(r, noise, seed, pixel), noisy(g, noise, seed, size + pixel), noisy(b, noise, seed, 2 * size + pixel)
    else:
        r, g, b = _in_space(r, g, b, record, kind)
    there, marked = target * 3 * size + pixel, row * 3 * size + pixel
    store_clipped(y, inside, there, marked, r, valid, CLIP)
    store_clipped(y, inside, there + size, marked + size, g, valid, CLIP)
    store_clipped(y, inside, there + 2 * size, marked + 2 * size, b, valid, CLIP)


@triton.jit
def _backward_kernel(
    table, x, gradient, out, inside, numbers, seeds, rows, size, KIND: tl.constexpr, CLIP: tl.constexpr, BLOCK: tl.constexpr
):
    """Compute the gradient of a block of pixels. Only colour spaces and noise read the image."""
    slot, kind, pixel, valid = _item(table, size, KIND, BLOCK)
    row, source, _ = places(table, slot)
    if row < 0:
        return
    there, here = row * 3 * size + pixel, source * 3 * size + pixel
    record = _record(numbers, rows, row, kind, KIND)
    g_0, g_1, g_2 = _load(gradient, there, size, valid)
    if kind == _MIX:
        g_0, g_1, g_2 = mixed(g_0, g_1, g_2, record, "mix", True)
    elif kind == _PARTIAL:
        g_0, g_1, g_2 = mixed(g_0, g_1, g_2, record, "partial_mix", True)
    elif kind == _TWO:
        g_0, g_1, g_2 = mixed(g_0, g_1, g_2, record, "two_thirds", True)
    elif kind == _ONE:
        g_0, g_1, g_2 = mixed(g_0, g_1, g_2, record, "one_channel", True)
    elif kind == _NOISE:
        r, g, b = _load(x, here, size, valid)
        seed, noise = tl.load(seeds + row), tl.load(record).to(tl.int32)
        g_0 = noisy_backward(r, g_0, noise, seed, pixel)
        g_1 = noisy_backward(g, g_1, noise, seed, size + pixel)
        g_2 = noisy_backward(b, g_2, noise, seed, 2 * size + pixel)
    elif (kind != _PRECISION) & (kind != _IDENTITY):
        r, g, b = _load(x, here, size, valid)
        g_0, g_1, g_2 = _in_space_backward(r, g, b, g_0, g_1, g_2, record, kind)
    store_masked(out, inside, there, g_0, valid, CLIP)
    store_masked(out, inside, there + size, g_1, valid, CLIP)
    store_masked(out, inside, there + 2 * size, g_2, valid, CLIP)


def record(name: str, params: Params) -> Tensor:
    """Return the numbers of a transform for each image, (n, RECORD) float32, zero where it has fewer."""
    columns = [params[each].reshape(len(params[each]), -1).float() for each in NUMBERS[name]]
    return torch.nn.functional.pad(torch.cat(columns, 1), (0, RECORD - sum(column.shape[1] for column in columns)))


def records(params: Mapping[str, Params], keys: Tensor) -> Params:
    """Return the parameters of `forward` and `backward` from those of some transforms by name, for images with `keys` (n,)."""
    numbers = torch.zeros((len(KINDS), len(keys), RECORD), device=keys.device)
    for kind, name in enumerate(KINDS):
        if name in params:
            numbers[kind] = record(name, params[name])
    return {"numbers": numbers, "seed": params["noise"]["seed"] if "noise" in params else keys}


def forward(part: Part, kind: int = -1) -> Saved:
    """Apply to each image of a part the transform that the table says, or one to all.

    params  `numbers` (kinds, n, RECORD) or, for one kind, (n, RECORD); `seed` (n,) int64
    """
    _launch(_forward_kernel, part, (part.x, part.y), kind)
    return ()


def backward(part: Part, saved: Saved, kind: int = -1) -> None:
    """Compute the gradients of a part; parameters as in `forward`."""
    _launch(_backward_kernel, part, (part.x, part.gradient, part.y), kind)


def _launch(kernel: Any, part: Part, images: tuple[Any, ...], kind: int) -> None:
    """Queue a kernel over blocks of pixels."""
    size, numbers = part.size[0] * part.size[1], part.params["numbers"]
    launcher.launch(
        kernel, part.slots * launcher.cdiv(size, BLOCK), part.table, *images, part.inside, numbers, part.params["seed"],
        numbers.shape[-2], size, KIND=kind, CLIP=part.clip, BLOCK=BLOCK,
    )  # fmt: skip


def _kernel(name: str) -> Kernel:
    """Return the kernel of one transform alone."""
    kind = KINDS.index(name)

    def numbered(part: Part) -> Part:
        """Return the part with its parameters as the kernels read them; without noise, the seeds are not read."""
        return part._replace(params={"numbers": record(name, part.params), "seed": part.params.get("seed", part.table)})

    def back(part: Part, saved: Saved) -> None:
        backward(numbered(part), saved, kind)

    straightly = name == "color_precision"
    return Kernel(lambda part: forward(numbered(part), kind), straight if straightly else back, keeps=name in KEEPING)


KEEPING = ("hsv", "xyz", "lab", "yuv", "noise")
"""The transforms whose derivative depends on the image."""

color_precision = _kernel("color_precision")
"""Return round(x s) / s, straight-through in the backward pass."""
grey_mix = _kernel("grey_mix")
"""Set all channels to ratio . x."""
grey_partial_mix = _kernel("grey_partial_mix")
"""Return x keep + grey (1 - keep) for each channel."""
grey_two_thirds = _kernel("grey_two_thirds")
"""Replace the two other channels by their mix."""
grey_one_channel = _kernel("grey_one_channel")
"""Set channel c to g mix + x_c (1 - mix), where g is the mix of the two others."""
hsv = _kernel("hsv")
"""Add offsets in HSV and clip all of it to [0, 1]. The hue does not wrap."""
xyz = _kernel("xyz")
"""Add offsets in XYZ and clip all of it to [0, 1]."""
lab = _kernel("lab")
"""Add offsets in LAB and clip L to [0, 100]."""
yuv = _kernel("yuv")
"""Add offsets in YUV and clip Y to [0, 1]."""
noise = _kernel("noise")
"""Add the noise of each image's kind and clip to [0, 1]."""
