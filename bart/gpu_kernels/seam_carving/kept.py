"""Compute which pixels remain after the seams are removed, and where each pixel goes. Six launches for both directions."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.seam_carving.energy import energy_kernel
from bart.gpu_kernels.seam_carving.layout import LANES, STEEPEST, TILE, TILE_H, TILE_W, WALL, seam_counts, tile_pixels
from bart.gpu_kernels.seam_carving.search import carve_kernel
from bart.types import Params

SWEEPS = 2
"""Warps of a program that searches: one from the first row down, one from the last row up."""


@triton.jit
def _put_back(column, seams, line, rows, count, inside):
    """Return the column, before the seams were removed, of what is now in `column` of row `line`.

    Four seams are loaded at a time.
    """
    for last in range(count - 1, -1, -4):
        seam_0 = tl.load(seams + last * rows + line, mask=inside, other=0)
        seam_1 = tl.load(seams + (last - 1) * rows + line, mask=inside & (last >= 1), other=32767)
        seam_2 = tl.load(seams + (last - 2) * rows + line, mask=inside & (last >= 2), other=32767)
        seam_3 = tl.load(seams + (last - 3) * rows + line, mask=inside & (last >= 3), other=32767)
        column += (column >= seam_0).to(tl.int32)
        column += (column >= seam_1).to(tl.int32)
        column += (column >= seam_2).to(tl.int32)
        column += (column >= seam_3).to(tl.int32)
    return column


@triton.jit
def _columns_kernel(
    both, vertical, count, seams, columns, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):  # fmt: skip
    """Store which columns remain in each row after the vertical seams are removed."""
    image, row, column = tile_pixels(height, width, TILE_H, TILE_W)
    columns_gone, _ = seam_counts(both, vertical, count, image)
    source = _put_back(column + row * 0, seams + image * height * width, row, height, columns_gone, row < height)
    here = columns + image * height * width + row * width + column
    tl.store(here, source.to(tl.int16), mask=(row < height) & (column < width - columns_gone))


@triton.jit
def _kept_kernel(
    both, vertical, count, seams, columns, kept, place, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):  # fmt: skip
    """Store which pixels remain after the horizontal seams are removed too, and where each pixel is then."""
    image, row, column = tile_pixels(height, width, TILE_H, TILE_W)
    columns_gone, rows_gone = seam_counts(both, vertical, count, image)
    length = width - columns_gone
    size = height * width
    inside = (row < height - rows_gone) & (column < length)
    source = _put_back(row + column * 0, seams + image * size, column, length, rows_gone, column < length)
    pixel = source * width
    pixel += tl.load(columns + image * size + pixel + column, mask=inside, other=0).to(tl.int32)
    tl.store(kept + image * size + row * width + column, pixel, mask=inside)
    tl.store(place + image * size + pixel, row * width + column, mask=inside)


def _ways(rows: int) -> int:
    """Return how many rows' ways fit into an integer below the energy of half a seam, which has to stay below WALL."""
    return max(ways for ways in range(1, 5) if (rows // 2 + 1 + ways) * STEEPEST * 4**ways < WALL - 2**20)


def kept_pixels(x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    """Return the pixels of the carved images, and where in them each pixel is: both (n, h, w) int32.

    Both count pixels of a flattened image. The carved image is at the top left; beyond it the first result is undefined. The
    second is -1 where a seam was.
    """
    n, _, height, width = x.shape
    side = max(height, width)
    share = triton.cdiv(side, LANES)
    line = LANES * share
    area = (side + 1) * line  # one row more than the image has, without energies
    new = x.new_empty
    energy, ways = new((n, area), dtype=torch.int32), new((n, area), dtype=torch.uint8)
    notes, (seams, columns) = new((n, 4, line), dtype=torch.int32), new((2, n, height, width), dtype=torch.int16)
    kept, place = new((2, n, height, width), dtype=torch.int32)
    numbers = (params["both"], params["vertical"], params["count"])
    shape = {"SHARE": share, "WAYS": _ways(side)}
    across = triton.next_power_of_2(side)

    def find_seams(turned: bool) -> None:
        tiles = (line, width + 1) if turned else (height + 1, line)
        programs = n * triton.cdiv(tiles[0], TILE_H) * triton.cdiv(tiles[1], TILE_W)
        inputs = (x, *numbers, columns, place, energy)
        launcher.launch(energy_kernel, programs, *inputs, height, width, area, TURNED=turned, **shape, **TILE)
        buffers = (energy, ways, notes, seams)
        sizes = (height, width, area, int(turned))
        launcher.launch(carve_kernel, n, *numbers, *buffers, *sizes, **shape, ACROSS=across, num_warps=SWEEPS)

    programs = n * triton.cdiv(height, TILE_H) * triton.cdiv(width, TILE_W)
    find_seams(turned=False)
    launcher.launch(_columns_kernel, programs, *numbers, seams, columns, height, width, **TILE)
    find_seams(turned=True)
    launcher.launch(_kept_kernel, programs, *numbers, seams, columns, kept, place, height, width, **TILE)
    return kept, place
