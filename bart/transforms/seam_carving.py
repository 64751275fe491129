"""Cut paths of least contrast out of the image and enlarge it to its size. Group 6, zoom; exact gradient given the seams.

A vertical seam has one pixel in each row, and moves at most one column from row to row. Seams are found one after another by a
dynamic programme on the Sobel energy of the grey image. The energy is computed once for each direction and carved along with
the image, as the former `skimage.transform.seam_carve` did; as there, the outermost columns belong to no seam. (That function
also cut several disjoint seams out of one programme. Here each seam is the least one of what remains: Avidan and Shamir,
SIGGRAPH 2007.)

Energies are whole multiples of 2^-15, so their sums are exact in float32 and ties are ties on every device. A tie goes to the
leftmost pixel of the last row and, from there up, to the leftmost of the predecessors.
"""

import math

import torch
from torch import Tensor

from bart import rng
from bart.cpu_kernels.clip import fits
from bart.cpu_kernels.seams import kept_pixels as kept_pixels_host
from bart.transforms.zoom import GROUP, bilinear, resize_coordinates
from bart.types import Gradient, Params, Size, Transform, pixels

_LUMINANCE = (0.2125, 0.7154, 0.0721)  # skimage.color.rgb2gray
_LEVELS = 2**15  # levels of energy; the sum of a 512 px seam is still exact in float32
_SCALE = _LEVELS / math.sqrt(32)  # of the Sobel sums
_BLOCK = 4  # rows that a device computes in one step
_MOST = 50  # the most seams of a direction, for 256 px


def draw(keys: Tensor, size: Size) -> Params:
    """Return the parameters of images of `size`, one key an image.

    both        (n,) coins: seams in both directions
    vertical    (n,) coins: if not `both`, vertical seams instead of horizontal ones
    count       (n, 2) int, 10..50 for 256 px: vertical seams scale with the width, horizontal ones with the height; the two
                outermost pixels stay
    """
    columns, rows = (
        rng.integers(keys, name, pixels(10, side, side - 2), pixels(_MOST, side, side - 2))
        for name, side in (("columns", size[1]), ("rows", size[0]))
    )
    return {
        "both": rng.coin(keys, "both"),
        "count": torch.stack([columns, rows], dim=1),
        "vertical": rng.coin(keys, "vertical"),
    }


def _energy(grey: Tensor) -> Tensor:
    """Return the Sobel magnitude of `grey` (n, rows, columns) float64, in whole numbers, float32.

    Source: `skimage.filters.sobel`.
    """
    padded = torch.nn.functional.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    squares = (down[..., 2:] - down[..., :-2]).square_() + (across[:, 2:] - across[:, :-2]).square_()
    energy = squares.sqrt_().mul_(_SCALE).round_().float()
    energy[..., 0] = energy[..., -1] = math.inf
    return energy


def _transitions(energy: Tensor) -> Tensor:
    """Return the least energy of a path through a block of rows, from energies (rows, n, columns).

    The result is (rows / _BLOCK, n, 2 _BLOCK + 1, columns). The path ends in column c of the block's last row and comes from
    column c + o - _BLOCK of the row above the block.
    """
    width, least, reach = energy.shape[2], energy[:, :, None].expand(-1, -1, 3, -1), 1
    while reach < _BLOCK:
        above = torch.nn.functional.pad(least[0::2], (reach, reach), value=math.inf)
        below = least[1::2]
        least = energy.new_full((*below.shape[:2], 4 * reach + 1, width), math.inf)
        for o in range(2 * reach + 1):
            part = least[:, :, o : o + 2 * reach + 1]
            torch.minimum(part, above[..., o : o + width] + below[:, :, o : o + 1], out=part)
        reach *= 2
    return least


def _least_of_three(rows: Tensor) -> Tensor:
    """Return the least of each entry and its two neighbours along the last dimension."""
    padded = torch.nn.functional.pad(rows, (1, 1), value=math.inf)
    return torch.minimum(torch.minimum(padded[..., :-2], padded[..., 1:-1]), padded[..., 2:])


def _totals(energy: Tensor) -> Tensor:
    """Return the least energy of a path from the first row to each pixel, (rows, n, columns).

    Blocks are computed one after another, then the rows within all blocks.
    """
    _, n, width = energy.shape
    transitions = _transitions(energy)
    above = energy.new_full((len(transitions) + 1, n, width + 2 * _BLOCK), math.inf)
    above[0, :, _BLOCK:-_BLOCK] = 0
    windows, inner = above.unfold(2, width, 1), above[..., _BLOCK:-_BLOCK]
    for i, transition in enumerate(transitions):
        torch.amin(windows[i] + transition, dim=1, out=inner[i + 1])
    totals = torch.empty_like(energy)
    totals[_BLOCK - 1 :: _BLOCK] = inner[1:]
    row = inner[:-1]
    for i in range(_BLOCK - 1):
        row = _least_of_three(row) + energy[i::_BLOCK]
        totals[i::_BLOCK] = row
    return totals


def _trace(totals: Tensor) -> Tensor:
    """Return the least seam's column in each row, (rows, n) int64, from the totals (rows, n, columns)."""
    rows, n, width = totals.shape
    padded = torch.nn.functional.pad(totals, (1, 1), value=math.inf)
    left, middle, right = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    to_right = right < torch.minimum(left, middle)
    to_left = (left <= middle) & ~to_right
    step = to_right.to(torch.int8) - to_left.to(torch.int8)
    # origin[r, c], by blocks: the column in row r of a seam that is in column c of row r + 1
    origin = (torch.arange(width, device=totals.device) + step).clamp_(min=0).view(-1, _BLOCK, n, width)
    jump = origin[1:, -2]  # from the last row of a block up to the last row of the block before
    for i in reversed(range(_BLOCK - 2)):
        jump = origin[1:, i].gather(2, jump)
    jump = origin[:-1, -1].gather(2, jump)

    ends = [totals[-1].argmin(dim=1, keepdim=True)]
    for block in jump.flip(0):
        ends.append(block.gather(1, ends[-1]))
    column = torch.stack(ends[::-1])
    columns = [column]
    for i in reversed(range(_BLOCK - 1)):
        column = origin[:, i].gather(2, column)
        columns.append(column)
    return torch.stack(columns[::-1], dim=1).view(rows, n)


def _find(energy: Tensor, count: Tensor, most: int) -> Tensor:
    """Return the seams (most, n, rows) int16 of `energy` (n, rows, columns), each in columns of what the previous ones left.

    Image i has count[i] <= `most` seams; a missing seam is beyond its last column.
    """
    _, rows, width = energy.shape
    energy = torch.nn.functional.pad(energy.transpose(0, 1), (0, 0, 0, 0, -rows % _BLOCK, 0))  # free rows above the image
    column = torch.arange(width, device=energy.device)
    seams = []
    for i in range(most):
        seam = torch.where(i < count, _trace(_totals(energy)), width)
        energy = torch.where(column < seam[..., None], energy, torch.cat([energy[..., 1:], energy[..., -1:]], dim=2))
        seams.append(seam[-rows:].T.to(torch.int16))
    return torch.stack(seams)


def _kept(energy: Tensor, count: Tensor, most: int) -> Tensor:
    """Return which columns remain in each row after `count` (n,) seams are removed:

    (n, rows, columns) int64, the last one repeated. `most` is at least every count.
    """
    width = energy.shape[2]
    last = (width - 1 - count)[:, None, None]
    column = torch.arange(width, device=energy.device).minimum(last).to(torch.int16).repeat(1, energy.shape[1], 1)
    for seam in _find(energy, count, most).flip(0):
        column += column >= seam[..., None]
    return column.long()


def _counts(params: Params) -> tuple[Tensor, Tensor]:
    """Return how many vertical and horizontal seams each image has, (n,) each."""
    vertical, horizontal = params["count"].unbind(dim=1)
    return vertical * (params["both"] | params["vertical"]), horizontal * (params["both"] | ~params["vertical"])


@torch.no_grad()
def kept_pixels(x: Tensor, params: Params) -> Tensor:
    """Return the pixels of `x` that remain in the carved image, (n, h, w) int64, as indices into the flattened image.

    Vertical seams are removed first, then the horizontal ones of what remains. The carved image is at the top left; beyond it
    its last column and row are repeated.
    """
    height, width = x.shape[-2:]
    vertical, horizontal = _counts(params)
    if fits(x):
        return kept_pixels_host(x, (vertical.tolist(), horizontal.tolist()), _LUMINANCE, _SCALE)
    red, green, blue = x.detach().double().unbind(dim=1)
    grey = red * _LUMINANCE[0] + green * _LUMINANCE[1] + blue * _LUMINANCE[2]
    column = _kept(_energy(grey), vertical, pixels(_MOST, width))
    energy = _energy(grey.gather(2, column).transpose(1, 2))
    outside = torch.arange(width, device=x.device) >= (width - vertical)[:, None]
    row = _kept(energy.masked_fill_(outside[..., None], 0), horizontal, pixels(_MOST, height)).transpose(1, 2)
    return row * width + column.gather(1, row)


def apply(x: Tensor, params: Params) -> Tensor:
    """Remove the seams and resize to the full size by `skimage.transform.resize` of order 1. x (n, 3, h, w)."""
    height, width = x.shape[-2:]
    kept = kept_pixels(x, params).flatten(1)[:, None].expand(-1, 3, -1)
    carved = x.flatten(2).gather(2, kept).view_as(x)
    vertical, horizontal = _counts(params)
    columns = resize_coordinates(torch.zeros_like(vertical), width - vertical, width, x.dtype)
    rows = resize_coordinates(torch.zeros_like(horizontal), height - horizontal, height, x.dtype)
    return bilinear(carved, columns[:, None, :], rows[:, :, None])


SEAM_CARVING = Transform(
    "seam_carving",
    GROUP,
    draw,
    apply,
    Gradient.EXACT,
    {"both": 1, "count": _MOST, "vertical": 1},
    frozenset({"count"}),
)
