"""Compute which pixels remain after the seams are removed, and where each pixel goes. Six launches for both directions."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from bart.gpu_kernels.common import launcher
from bart.gpu_kernels.common.part import Part
from bart.gpu_kernels.common.rows import places
from bart.gpu_kernels.seam_carving.energy import energy_kernel
from bart.gpu_kernels.seam_carving.layout import (
    PARTS,
    STEEPEST,
    TILE,
    TILE_H,
    TILE_W,
    WALL,
    seam_counts,
    tile_pixels,
    windows,
)
from bart.gpu_kernels.seam_carving.search import carve_kernel


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
    table, both, vertical, count, seams, columns, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):  # fmt: skip
    """Store which columns remain in each row after the vertical seams are removed."""
    slot, row, column = tile_pixels(height, width, TILE_H, TILE_W)
    mine, _, _ = places(table, slot)
    if mine < 0:
        return
    columns_gone, _ = seam_counts(both, vertical, count, mine)
    source = _put_back(column + row * 0, seams + slot * height * width, row, height, columns_gone, row < height)
    here = columns + slot * height * width + row * width + column
    tl.store(here, source.to(tl.int16), mask=(row < height) & (column < width - columns_gone))


@triton.jit
def _kept_kernel(
    table, both, vertical, count, seams, columns, kept, place, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):  # fmt: skip
    """Store which pixels remain after the horizontal seams are removed too, and where each pixel is then."""
    slot, row, column = tile_pixels(height, width, TILE_H, TILE_W)
    mine, _, _ = places(table, slot)
    if mine < 0:
        return
    columns_gone, rows_gone = seam_counts(both, vertical, count, mine)
    length = width - columns_gone
    size = height * width
    inside = (row < height - rows_gone) & (column < length)
    source = _put_back(row + column * 0, seams + slot * size, column, length, rows_gone, column < length)
    pixel = source * width
    pixel += tl.load(columns + slot * size + pixel + column, mask=inside, other=0).to(tl.int32)
    tl.store(kept + slot * size + row * width + column, pixel, mask=inside)
    tl.store(place + slot * size + pixel, row * width + column, mask=inside)


def _ways(rows: int) -> int:
    """Return how many rows' ways fit into an integer below the energy of half a seam, which has to stay below WALL."""
    return max(ways for ways in range(1, 5) if (rows // 2 + 1 + ways) * STEEPEST * 4**ways < WALL - 2**20)


def kept_pixels(part: Part) -> tuple[Tensor, Tensor]:
    """Return the pixels of the carved images, and where in them each pixel is: both (c, h, w) int32, by slot.

    Both count pixels of a flattened image. The carved image is at the top left; beyond it the first result is undefined. The
    second is -1 where a seam was.
    """
    n, (height, width), device = part.slots, part.size, part.y.device
    side = max(height, width)
    ways = _ways(side)
    share, edge, pitch = windows(side, ways)
    area = (side + 1) * pitch

    def new(dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    energy, paths = new(torch.int16, n, 2, area), new(torch.uint8, n, area)
    notes = new(torch.int32, n, 4, pitch)
    seams, columns = new(torch.int16, 2, n, height, width)
    kept, place = new(torch.int32, 2, n, height, width)
    numbers = (part.params["both"], part.params["vertical"], part.params["count"])
    shape = {"SHARE": share, "EDGE": edge, "WAYS": ways, "PITCH": pitch, "ACROSS": triton.next_power_of_2(side)}

    def find_seams(turned: bool) -> None:
        tiles = (pitch, width) if turned else (height, pitch)
        programs = n * launcher.cdiv(tiles[0], TILE_H) * launcher.cdiv(tiles[1], TILE_W)
        inputs = (part.table, part.x, *numbers, columns, place, energy)
        launcher.launch(
            energy_kernel, programs, *inputs, height, width, area, edge * share, TURNED=turned, PITCH=pitch, **TILE
        )  # fmt: skip
        buffers = (part.table, *numbers, energy, paths, notes, seams)
        launcher.launch(carve_kernel, n, *buffers, height, width, area, int(turned), **shape, num_warps=2 * PARTS)

    programs = n * launcher.cdiv(height, TILE_H) * launcher.cdiv(width, TILE_W)
    find_seams(turned=False)
    launcher.launch(_columns_kernel, programs, part.table, *numbers, seams, columns, height, width, **TILE)
    find_seams(turned=True)
    launcher.launch(_kept_kernel, programs, part.table, *numbers, seams, columns, kept, place, height, width, **TILE)
    return kept, place
