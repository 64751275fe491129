"""Sum contributions over the disk around every pixel: the basis of the rank filters.

Sums are computed offset by offset, for all planes (m, h, w) at once; a plane is one channel of one image. Nothing is sorted,
and no window is gathered in memory.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from bart.types import Size

Offset = tuple[int, int]
Tally = Callable[[Tensor, list[Offset]], None]
"""Adds to a total (..., k, length), in place, the contributions of the pixels at some offsets, in the first k planes."""

CHUNK_CPU, CHUNK_DEVICE = 2**20, 2**25
"""Pixels that are computed together: what a cache holds (CPU), and a bound on the memory for intermediate results (device)."""


@lru_cache
def _rings(low: int, high: int) -> list[tuple[int, list[Offset]]]:
    """Return the disk of radius `high` (dy dy + dx dx <= r r) cut at each radius from `low`:

    (radius, offsets it adds), inside out.
    """
    reach = range(-high, high + 1)
    offsets = [(dy, dx) for dy in reach for dx in reach]
    inner = [-1, *(r * r for r in range(low, high))]
    return [
        (r, [(dy, dx) for dy, dx in offsets if below < dy * dy + dx * dx <= r * r])
        for below, r in zip(inner, range(low, high + 1), strict=True)
    ]


class Disks:
    """Describe the disks around all pixels of planes (m, h, w), one radius (m,) in low..high per plane.

    Each plane is stored as one line with margins, where a shift in two dimensions is a slice. Entries between the ends of two
    rows are computed too, and cropped. If the planes are sorted, largest disk first, `members` says how many have each radius
    of low..high or a larger one; then no plane goes through more than its own disk.
    """

    def __init__(self, radius: Tensor, low: int, high: int, size: Size, members: list[int] | None = None) -> None:
        self.radius, self.rings, self.margin = radius[:, None], _rings(low, high), high
        self.members = members
        self.height, self.width = size
        self.stride = self.width + 2 * high
        self.length = (self.height - 1) * self.stride + self.width

    def line(self, planes: Tensor, outside: int = 0) -> Tensor:
        """Return planes as lines, with the value `outside` beyond the image."""
        return pad(planes, (self.margin,) * 4, value=outside).flatten(1)

    def at(self, line: Tensor, offset: Offset) -> Tensor:
        """Return for each pixel the one at `offset` from it: a view (m, length)."""
        return line.narrow(1, (self.margin + offset[0]) * self.stride + self.margin + offset[1], self.length)

    def center(self, planes: Tensor) -> Tensor:
        """Return each pixel itself, (m, length)."""
        return self.at(self.line(planes), (0, 0)).contiguous()

    def crop(self, values: Tensor) -> Tensor:
        """Return values (m, length) as planes (m, h, w)."""
        values = values.contiguous()
        return values.as_strided((len(values), self.height, self.width), (self.length, self.stride, 1), values.storage_offset())

    def total(self, total: Tensor, tally: Tally) -> Tensor:
        """Return the sum over each plane's own disk, (..., m, length). `total`, of that shape and zero, is overwritten."""
        if self.members is not None:
            for count, (_, ring) in zip(self.members, self.rings, strict=True):
                tally(total.narrow(-2, 0, count), ring)
            return total
        result = total
        for r, ring in self.rings:
            tally(total, ring)
            result = torch.where(self.radius >= r, total, result)
        return result

    def _rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows of the largest disk (rows,), and for each plane's disk how far they reach and whether it has them."""
        radius = self.radius.float()
        rows = torch.arange(-self.margin, self.margin + 1, device=radius.device)
        half = (radius.square() - rows.square() + 0.5).clamp_min(0).sqrt().floor()
        return rows, half, rows.abs() <= radius

    def size(self) -> Tensor:
        """Return the number of pixels of each plane's disk, (m,) float32."""
        _, half, has = self._rows()
        return ((2 * half + 1) * has).sum(1)

    def population(self) -> Tensor:
        """Return the number of pixels of each disk inside the image, (m, h, w) float32."""
        rows, half, has = self._rows()
        half, x = half[:, :, None], torch.arange(self.width, device=half.device)
        columns = (x + half).clamp_max(self.width - 1) - (x - half).clamp_min(0) + 1
        y = torch.arange(self.height, device=half.device)[:, None] + rows
        return ((y >= 0) & (y < self.height)).float() @ (columns * has[:, :, None])


def each(filter: Callable[..., Tensor], radius: Tensor, radii: tuple[int, int], *planes: Tensor) -> Tensor:
    """Return `filter(disks, *planes)`, computed in chunks of bounded memory.

    radius (m,) is within `radii`; planes (m, ...), of which the last is (m, h, w) and of the shape and type of the result.
    """
    if radius.device.type == "cpu":
        return each_sorted(filter, radius, *planes)
    return each_unsorted(filter, radius, radii, *planes)


def each_sorted(filter: Callable[..., Tensor], radius: Tensor, *planes: Tensor) -> Tensor:
    """Filter on the host, which knows the radii: the largest disks together, so that no plane goes through another's disk."""
    height, width = planes[-1].shape[-2:]
    out = torch.empty_like(planes[-1])
    for index in _together(radius, (height, width)):
        values = radius[index].tolist()
        low, high = values[-1], values[0]
        members = [sum(value >= r for value in values) for r in range(low, high + 1)]
        out[index] = filter(Disks(radius[index], low, high, (height, width), members), *(plane[index] for plane in planes))
    return out


def _together(radius: Tensor, size: Size) -> tuple[Tensor, ...]:
    """Return which planes a host computes together, largest disk first."""
    return radius.argsort(descending=True).split(max(1, CHUNK_CPU // (size[0] * size[1])))


def orders(radius: Tensor, size: Size) -> list[tuple[Offset, ...]]:
    """Return the offsets of each plane's disk, in the order in which `each_sorted` adds: rounding depends on it."""
    found: list[tuple[Offset, ...]] = [()] * len(radius)
    for index in _together(radius, size):
        values = radius[index].tolist()
        for i, value in zip(index.tolist(), values, strict=True):
            found[i] = _inside_out(values[-1], value)
    return found


@lru_cache
def _inside_out(low: int, high: int) -> tuple[Offset, ...]:
    """Return the offsets of a disk, ring by ring."""
    return tuple(offset for _, ring in _rings(low, high) for offset in ring)


def each_unsorted(filter: Callable[..., Tensor], radius: Tensor, radii: tuple[int, int], *planes: Tensor) -> Tensor:
    """Filter on a device, where reading the radii would wait: planes go through the largest disk and keep their own sum."""
    height, width = planes[-1].shape[-2:]
    size = max(1, CHUNK_DEVICE // (height * width))
    chunks = zip(*(value.split(size) for value in (radius, *planes)), strict=True)
    return torch.cat([filter(Disks(r, *radii, (height, width)), *parts) for r, *parts in chunks])
