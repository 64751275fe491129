"""Cut problems into strips of whole rows, one program each, so that a few images fill a GPU.

A problem is one plane, or three coupled ones. A strip depends on its neighbours, but not at once: rows further away than m do
not matter for m iterations. So a program makes m iterations on its own, in memory of its own. It starts with m rows beyond its
strip at either end, and with each iteration one row less at either end. No program waits for another.
"""

import triton
import triton.language as tl
from torch import Tensor

PROGRAMS, PARTS = 128, 64
"""About how many programs a few images are cut into, and an upper bound on the strips of a problem."""
SCHEDULE = {"num_warps": 16, "num_stages": 1}

UNSPECIALISED = [
    "x", "v", "u", "weights", "per_channel", "states", "scratch", "energies", "done", "out", "height", "strips", "room",
    "before", "begin", "end", "turn",
]  # fmt: skip
"""Arguments for which Triton compiles one version.

If the compiler knew that rows are aligned, a thread would take four neighbours at a time, and the loads one pixel to the side
would be spread over four times as many lines.
"""


@triton.jit
def strip_of_program(per_channel, height, strips):
    """Return this program's image, whether one channel is solved alone, which (else the first), the strip, and all strips."""
    image = tl.program_id(0) // (3 * strips)
    part = tl.program_id(0) % (3 * strips)
    alone = tl.load(per_channel + image) != 0
    channel = tl.where(alone, part // strips, 0)
    return image, alone, channel, part - channel * strips, tl.where(alone, strips, 3 * strips)


@triton.jit
def load_right_below(field, i, here, right, below, WIDTH: tl.constexpr):
    """Return a field at the pixels i, to their right and below them; zero where a mask is false."""
    at_right = tl.load(field + i + 1, mask=right, other=0.0)
    return tl.load(field + i, mask=here, other=0.0), at_right, tl.load(field + i + WIDTH, mask=below, other=0.0)


def cut_strips(x: Tensor, margin: int, alone: int, coupled: int) -> tuple[int, int, int]:
    """Return how many strips a plane is cut into, all programs, and the floats of a program's buffer.

    A buffer holds `alone` fields of one channel or `coupled` fields of three coupled ones, whose strips are a third as high.
    """
    n, _, height, width = x.shape
    strips = min(max(min(PROGRAMS // (3 * max(n, 1)), height // 16), triton.cdiv(height, 128)), PARTS // 3)
    rows = [triton.cdiv(height, parts) + 2 * margin for parts in (strips, 3 * strips)]
    return strips, 3 * n * strips, max(alone * rows[0], coupled * rows[1]) * width
