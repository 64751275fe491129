"""Compute, on the device, which slot of which launch has which image, and where each image is in each round.

Images have several places each, one for each version that is needed at the same time. A version that the backward pass reads
keeps its place; the others take turns in two.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bart.gpu_kernels.barrage.plan import Plan, Units


class Tables(NamedTuple):
    """Hold the tables of a pass, all (..., 4) int32: row, source, target, kind.

    forward, backward   (k, slots) lines: those of each unit stand together; `backward` is None if no gradient is asked for
    leave               (n,) lines: where the images are at the end
    enter_back          (n,) lines: from the gradient of the result to that of the last round that an image has. The row is that
                        of the stack of all rounds' marks, (k + 1) n
    """

    forward: Tensor
    backward: Tensor | None
    leave: Tensor
    enter_back: Tensor


def versions(plan: Plan) -> int:
    """Return how many places an image has: two in turns, one for each that is kept, and one for its gradient."""
    return 2 + plan.most_kept + plan.graded


class Layout:
    """Make the tables of one plan. What does not depend on draws is copied to the device once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        names = plan.barrage.names

        def lookup(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64).to(plan.device)

        self.number = torch.arange(plan.n, device=plan.device)
        self.round = torch.arange(plan.barrage.k + 1, device=plan.device)[:, None]
        self.kept = lookup([plan.keeps(name) for name in names] + [0])
        self.sides = []
        self.most = []
        for backward, units in enumerate((plan.forward, plan.backward) if plan.graded else (plan.forward,)):
            most = [max(column) for column in zip(*plan.slots(units), strict=True)]
            self.most.append(most)
            unit = lookup([u for u, size in enumerate(most) for _ in range(size)])
            place = lookup([i for size in most for i in range(size)])
            kinds = lookup([plan.kind(name, bool(backward)) for name in names] + [0])
            self.sides.append((units, lookup(units.of_names(names)), unit, place, kinds))

    def tables(self, selected: Tensor) -> Tables:
        """Return the tables of a stack whose images meet the transforms `selected`, (n, k)."""
        n, chosen = self.plan.n, selected.T.contiguous()
        where = self._places(chosen)
        last = (selected < len(self.plan.barrage.names)).sum(1)
        forward, *backward = (self._lines(chosen, where, *side) for side in self.sides)
        number = self.number
        leave = torch.stack([number, where.gather(0, last[None])[0], number, number], 1).int()
        enter_back = torch.stack([last * n + number, number, last % 2 * n + number, number], 1).int()
        return Tables(forward, backward[0] if backward else None, leave, enter_back)

    def _places(self, chosen: Tensor) -> Tensor:
        """Return the place of each image before each round and after the last, (k + 1, n); `chosen` is (k, n).

        Versions count from 1 if gradients are asked for, as their two places are versions 0 and 1: 1 is free by then.
        """
        kept = torch.nn.functional.pad(self.kept[chosen], (0, 0, 0, 1))
        even = torch.where(self.round == 0, 1, 1 + kept[:1])  # the place where images enter cannot be used again if it is kept
        version = torch.where(self.round % 2 == 1, 0, even)
        version = torch.where((kept > 0) & (self.round > 0), 1 + kept.cumsum(0), version)
        return (version + int(self.plan.graded)) * self.plan.n + self.number

    def _lines(self, chosen: Tensor, where: Tensor, units: Units, of_name: Tensor, unit: Tensor, place: Tensor, kinds: Tensor) -> Tensor:
        """Return the lines of all slots, (k, slots, 4): of each unit its images in the order of the stack, then none."""
        mine = of_name[chosen]
        order = mine.argsort(dim=1, stable=True)
        numbers = torch.arange(len(units.members), device=chosen.device)
        counts = (mine[:, :, None] == numbers).sum(1)
        first = counts.cumsum(1) - counts
        row = order.gather(1, (first[:, unit] + place).clamp_max(self.plan.n - 1))
        source, target, kind = (table.gather(1, row) for table in (where[:-1], where[1:], kinds[chosen]))
        row = row.where(place < counts[:, unit], -1)
        return torch.stack([row, source, target, kind], 2).int()


@lru_cache(maxsize=16)
def layout_of(plan: Plan) -> Layout:
    """Return the layout of a plan, made once."""
    return Layout(plan)


def spans(slots: list[int], most: list[int]) -> list[slice]:
    """Return where the slots of each unit are in a round's lines, of which `most` are kept for each."""
    found, start = [], 0
    for used, size in zip(slots, most, strict=True):
        found.append(slice(start, start + used))
        start += size
    return found
