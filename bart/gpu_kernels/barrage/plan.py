"""Plan the launches of a barrage: which transforms share one, and how many slots each has.

A unit is what is launched together in a round: a transform, or all that see one pixel at a time. In the backward pass those
without a derivative of their own join the latter. A launch has the same number of slots in every pass, so that it can be
recorded: more than its images nearly always need. What does not fit meets a plan with more slots.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

import torch
from torch import Tensor

from bart import dispatch
from bart.gpu_kernels.common.part import Kernel, straight
from bart.gpu_kernels.pointwise.kernel import KINDS
from bart.types import Size, Transform

POINTWISE = "pointwise"
"""The unit of the transforms that see one pixel at a time."""
SPREAD = 5
"""Standard deviations of the number of a unit's images for which it has slots. A plan with more has twice as many."""
SOME = 3
"""Slots that a unit has beyond those, as few images are not spread like a normal number."""
CREW = 128 * 224**2
"""Pixels that go through the rounds together. A larger stack is cut into crews, and none waits for another: while one carves
seams, the others keep the device busy. Small images are one crew: their launches are short, so fewer of them are faster."""


class Barrage(Protocol):
    """Describe what is known of a barrage here: k, its transforms by name, and which of `names` each key chooses, (n, k)."""

    k: int

    def __hash__(self) -> int:
        """Return the same number for equal barrages."""
        ...

    @property
    def names(self) -> list[str]:
        """Return the names of the transforms, group by group."""
        ...

    @property
    def chosen_from(self) -> Mapping[str, Transform]:
        """Return the transforms by name."""
        ...

    def select(self, keys: Tensor) -> Tensor:
        """Return the transforms of each image, (n, k) int64, as indices into `names`; len(names) for none."""
        ...


@dataclass(frozen=True)
class Units:
    """Hold the units of one direction: the names of their transforms by the unit's name, in the order of launch."""

    members: Mapping[str, tuple[str, ...]]

    def of_names(self, names: Sequence[str]) -> list[int]:
        """Return the unit of each transform and of none at all; the number of units for what is in no unit."""
        found = {name: number for number, members in enumerate(self.members.values()) for name in members}
        return [found.get(name, len(self.members)) for name in names] + [len(self.members)]


@dataclass(frozen=True)
class Plan:
    """Plan passes over stacks of n images.

    barrage     what is drawn and applied
    n, size     number, height and width of the images
    grey        whether they are grey: three equal channels, of which only the first counts after a transform
    graded      whether a gradient is asked for
    plainly     whether all transforms have the derivative of the identity
    spread      see `SPREAD`
    counts      (crews, k, transforms + 1) numbers of images: for these alone, without empty slots; default: for any
    """

    barrage: Barrage
    n: int
    size: Size
    grey: bool
    device: torch.device
    graded: bool
    plainly: bool
    spread: int = SPREAD
    counts: tuple[tuple[tuple[int, ...], ...], ...] | None = None

    @property
    def crews(self) -> int:
        """Return the number of crews, each of neighbouring rows; sizes differ by one at most."""
        return min(max(1, self.n * self.size[0] * self.size[1] // CREW), self.n)

    @cached_property
    def kernels(self) -> dict[str, Kernel]:
        """Return the kernel of each transform."""
        return {name: dispatch.kernel(name) for name in self.barrage.names}

    @cached_property
    def forward(self) -> Units:
        """Return the units of the forward pass."""
        return self._units(set(KINDS))

    @cached_property
    def backward(self) -> Units:
        """Return the units of the backward pass, in the order of the forward pass."""
        return self._units(set(KINDS) | {name for name in self.barrage.names if self._straight(name)})

    def _units(self, pointwise: set[str]) -> Units:
        """Return units of which the first has the transforms in `pointwise`, as far as there are any."""
        together = tuple(name for name in self.barrage.names if name in pointwise)
        alone = {name: (name,) for name in self.barrage.names if name not in pointwise}
        return Units(({POINTWISE: together} if together else {}) | alone)

    def _straight(self, name: str) -> bool:
        """Return whether a transform has the derivative of the identity, or none at all."""
        return self.plainly or self.kernels[name].backward in (None, straight)

    def keeps(self, name: str) -> bool:
        """Return whether the images that meet a transform are read again in the backward pass."""
        return self.graded and not self._straight(name) and self.kernels[name].keeps

    @cached_property
    def most_kept(self) -> int:
        """Return how many images a row keeps at most: one of each group that has a transform which keeps."""
        return min(
            self.barrage.k, len({self.barrage.chosen_from[name].group for name in self.barrage.names if self.keeps(name)})
        )

    def kind(self, name: str, backward: bool) -> int:
        """Return the kind of a transform in the tables of a direction."""
        return KINDS.index(name) if name in KINDS and not (backward and self._straight(name)) else len(KINDS)

    def slots(self, units: Units) -> list[list[list[int]]]:
        """Return the number of slots of each unit, crew by crew and round by round."""
        names, k = self.barrage.names, self.barrage.k
        if self.counts is not None:
            unit_of = [[names.index(name) for name in some] for some in units.members.values()]
            return [[[sum(count[i] for i in some) for some in unit_of] for count in counts] for counts in self.counts]
        groups = Counter(self.barrage.chosen_from[name].group for name in names)
        share = {name: 1 / len(groups) / groups[self.barrage.chosen_from[name].group] for name in names}
        return [[[self._enough(sum(share[name] for name in some)) for some in units.members.values()]] * k] * self.crews

    def _enough(self, share: float) -> int:
        """Return how many slots are enough for what each image meets with a probability."""
        images = -(-self.n // self.crews)
        mean = images * min(share, 1.0)
        return min(images, math.ceil(mean + self.spread * math.sqrt(mean * (1 - min(share, 1.0))) + SOME))

    def exact(self, counts: Tensor) -> "Plan":
        """Return the plan for these (crews, k, transforms + 1) numbers of images alone."""
        return replace(self, counts=tuple(tuple(map(tuple, crew)) for crew in counts.tolist()))

    def holds(self, counts: Tensor) -> bool:
        """Return whether the slots are enough for (crews, k, transforms + 1) numbers of images on the host."""
        return all(bool((counts @ member <= most).all()) for member, most in self._limits)

    def counted(self, selected: Tensor) -> Tensor:
        """Return how many images meet each transform, or none, (crews, k, transforms + 1), from (n, k) on the host."""
        choices = torch.arange(len(self.barrage.names) + 1, device="cpu")
        return torch.stack([(crew[:, :, None] == choices).sum(0) for crew in selected.tensor_split(self.crews)])

    @cached_property
    def _limits(self) -> list[tuple[Tensor, Tensor]]:
        """Return, for each direction, the transforms of units, (transforms + 1, units), and their slots, (crews, k, units)."""
        found = []
        for units in (self.forward, self.backward):
            unit = torch.tensor(units.of_names(self.barrage.names), dtype=torch.int64, device="cpu")
            found.append(
                (
                    (unit[:, None] == torch.arange(len(units.members), device="cpu")).long(),
                    torch.tensor(self.slots(units), dtype=torch.int64, device="cpu"),
                )
            )
        return found


@lru_cache(maxsize=64)
def _plan(
    barrage: Barrage, n: int, size: Size, grey: bool, device: torch.device, graded: bool, plainly: bool, spread: int
) -> Plan:
    """Return the plan of a kind of pass, with all that it has worked out."""
    return Plan(barrage, n, size, grey, device, graded, plainly, spread)


def planned(barrage: Barrage, x: Tensor, graded: bool, plainly: bool, selected: Tensor) -> Plan:
    """Return the plan with the fewest slots that are enough for these transforms of the stack `x`, (n, k) on the host."""
    size, grey, spread = (x.shape[2], x.shape[3]), x.shape[1] == 1, SPREAD
    while True:
        plan = _plan(barrage, len(x), size, grey, x.device, graded, plainly, spread)
        if plan.holds(plan.counted(selected)):
            return plan
        spread *= 2
