"""Compute, on the device, which slot of which launch has which image, and where each image is in each round.

Images have several places each, one for each version that is needed at the same time. A version that the backward pass reads
keeps its place; the others take turns in two.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from bart import rng
from bart.gpu_kernels.barrage.plan import Plan, Units


class Tables(NamedTuple):
    """Hold the tables of a pass, all (..., 4) int32: row, source, target, kind.

    forward, backward   (k, ...) lines, see `Side`; `backward` is None if no gradient is asked for
    leave               (n,) lines: where the images are at the end
    enter_back          (n,) lines: from the gradient of the result to that of the last round that an image has. The row is that
                        of the stack of all rounds' marks, (k + 1) n
    met                 (k, n) lines of grey images: those that meet a transform in a round; None in colour
    """

    forward: Tensor
    backward: Tensor | None
    leave: Tensor
    enter_back: Tensor
    met: Tensor | None


def versions(plan: Plan) -> int:
    """Return how many places an image has: two in turns, one for each that is kept, and one for its gradient."""
    return 2 + plan.most_kept + plan.graded


def crews_of(plan: Plan) -> Sequence[Tensor]:
    """Return the rows of each crew, on the host."""
    return torch.arange(plan.n, device="cpu").tensor_split(plan.crews)


class Side:
    """Lay out the lines of one direction: crew by crew and unit by unit, as many as the fullest round of each needs."""

    def __init__(self, plan: Plan, units: Units, backward: bool) -> None:
        self.plan, self.units, self.slots = plan, units, plan.slots(units)
        names, count = plan.barrage.names, len(units.members)
        most = [[max(column) for column in zip(*rounds, strict=True)] for rounds in self.slots]
        sizes = [size for crew in most for size in [*crew, 0]]  # the last: what meets nothing in this direction
        self.starts = [start - size for start, size in zip(accumulate(sizes), sizes, strict=True)]
        self.crew = _lookup([crew * (count + 1) for crew, rows in enumerate(crews_of(plan)) for _ in rows], plan)
        self.of_name = _lookup(units.of_names(names), plan)
        self.kinds = _lookup([plan.kind(name, backward) for name in names] + [0], plan)
        self.numbers = torch.arange(len(sizes), device=plan.device)
        self.unit = _lookup([unit for unit, size in enumerate(sizes) for _ in range(size)], plan)
        self.place = _lookup([i for size in sizes for i in range(size)], plan)

    def lines(self, chosen: Tensor, where: Tensor) -> Tensor:
        """Return the lines (k, lines, 4): of each unit its images in the order of the stack, then none.

        chosen  (k, n) transforms; where (k + 1, n) places
        """
        mine = self.of_name[chosen] + self.crew
        order = mine.argsort(dim=1, stable=True)
        counts = (mine[:, :, None] == self.numbers).sum(1)
        first = counts.cumsum(1) - counts
        row = order.gather(1, (first[:, self.unit] + self.place).clamp_max(self.plan.n - 1))
        source, target, kind = (table.gather(1, row) for table in (where[:-1], where[1:], self.kinds[chosen]))
        row = row.where(self.place < counts[:, self.unit], -1)
        return torch.stack([row, source, target, kind], 2).int()

    def spans(self, crew: int, number: int) -> list[tuple[str, slice]]:
        """Return the units that have slots in a round of a crew, and their lines."""
        starts = self.starts[crew * (len(self.units.members) + 1) :]
        slots = zip(self.units.members, starts, self.slots[crew][number], strict=False)
        return [(unit, slice(start, start + size)) for unit, start, size in slots if size]


def _lookup(values: list[int], plan: Plan) -> Tensor:
    """Return whole numbers on the device of a plan."""
    return rng.Mirror.of(torch.tensor(values, dtype=torch.int64, device="cpu"), plan.device).device


class Layout:
    """Make the tables of one plan. What does not depend on draws is copied to the device once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.number = torch.arange(plan.n, device=plan.device)
        self.round = torch.arange(plan.barrage.k + 1, device=plan.device)[:, None]
        self.kept = _lookup([plan.keeps(name) for name in plan.barrage.names] + [0], plan)
        self.rows = [slice(int(rows[0]), int(rows[-1]) + 1) for rows in crews_of(plan)]
        self.forward = Side(plan, plan.forward, False)
        self.backward = Side(plan, plan.backward, True) if plan.graded else None

    def tables(self, selected: Tensor) -> Tables:
        """Return the tables of a stack whose images meet the transforms `selected`, (n, k)."""
        n, chosen = self.plan.n, selected.T.contiguous()
        where = self._places(chosen)
        last = (selected < len(self.plan.barrage.names)).sum(1)
        number = self.number
        leave = torch.stack([number, where.gather(0, last[None])[0], number, number], 1).int()
        enter_back = torch.stack([last * n + number, number, last % 2 * n + number, number], 1).int()
        backward = self.backward.lines(chosen, where) if self.backward else None
        met = self._met(chosen, where) if self.plan.grey else None
        return Tables(self.forward.lines(chosen, where), backward, leave, enter_back, met)

    def _met(self, chosen: Tensor, where: Tensor) -> Tensor:
        """Return the lines (k, n, 4) of all images, in the order of the stack; arguments as of `Side.lines`."""
        row = self.number.where(chosen < len(self.plan.barrage.names), -1)
        return torch.stack([row, where[:-1], where[1:], row], 2).int()

    def _places(self, chosen: Tensor) -> Tensor:
        """Return the place of each image before each round and after the last, (k + 1, n); `chosen` is (k, n).

        Versions count from 1 if gradients are asked for, as their two places are versions 0 and 1: 1 is free by then.
        """
        kept = torch.nn.functional.pad(self.kept[chosen], (0, 0, 0, 1))
        even = torch.where(self.round == 0, 1, 1 + kept[:1])  # the place where images enter cannot be used again if it is kept
        version = torch.where(self.round % 2 == 1, 0, even)
        version = torch.where((kept > 0) & (self.round > 0), 1 + kept.cumsum(0), version)
        return (version + int(self.plan.graded)) * self.plan.n + self.number


@lru_cache(maxsize=16)
def layout_of(plan: Plan) -> Layout:
    """Return the layout of a plan, made once."""
    return Layout(plan)
