"""The barrage: k of the ten groups in random order, one transform of each, every image its own (section 4 of the article)."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart import rng
from bart.backward import clip
from bart.bpda import combo
from bart.transforms import TRANSFORMS
from bart.types import Params, Size, Transform

Policy = Callable[[Transform, Tensor, Params], Tensor]
"""How a transform is applied and differentiated; see `bart.bpda`."""


class Part(NamedTuple):
    """The images of one round that meet the same transform: `images` neighbours of the sorted stack."""

    name: str
    images: int
    params: Params


class Round(NamedTuple):
    """One place in the order: `gather` (n,) sorts the stack, as the round before left it, by transform."""

    gather: Tensor
    parts: list[Part]


class Draws(NamedTuple):
    """What a stack of n draws goes through. `restore` (n,) brings the stack back into its own order at the end."""

    rounds: list[Round]
    restore: Tensor


class _Permute(torch.autograd.Function):
    """x[order] along the first dimension; the backward pass is a gather too, where autograd's would be a scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return gradient.index_select(0, order.argsort()), None


@dataclass(frozen=True)
class Barrage:
    """Draws and applies barrages.

    k           transforms of one barrage, 0 to the number of groups that have one of `transforms`
    transforms  names that may be drawn; all of the table unless told
    Raises ValueError for an unknown name or a k that cannot be met.
    """

    k: int
    transforms: tuple[str, ...] = tuple(TRANSFORMS)

    def __post_init__(self) -> None:
        for name in self.transforms:
            if name not in TRANSFORMS:
                near = get_close_matches(name, TRANSFORMS, 1) or sorted(TRANSFORMS)
                raise ValueError(f"unknown transform {name!r}: expected a name of bart.TRANSFORMS, such as {near[0]!r}")
        if len(set(self.transforms)) < len(self.transforms):
            raise ValueError(f"transforms name one twice: {', '.join(self.transforms)}; list each once")
        if not 0 <= self.k <= len(self._groups):
            raise ValueError(
                f"k = {self.k}: expected 0 to {len(self._groups)}, the number of groups among the transforms; "
                "each group is drawn at most once"
            )

    @cached_property
    def _groups(self) -> list[list[str]]:
        """The selected transforms, group by group, in the order of the table."""
        groups: dict[str, list[str]] = {}
        for name, transform in TRANSFORMS.items():
            if name in self.transforms:
                groups.setdefault(transform.group, []).append(name)
        return list(groups.values())

    @cached_property
    def _names(self) -> list[str]:
        return [name for group in self._groups for name in group]

    def select(self, keys: Tensor) -> Tensor:
        """The transforms of each image, (n, k) int64, as places in the selected names: groups without replacement in a
        uniformly random order, then one transform of each group uniformly."""
        groups = rng.order(keys, "groups", len(self._groups))[:, : self.k]
        sizes, starts = _layout(tuple(len(group) for group in self._groups), keys.device)
        return starts[groups] + rng.integers(keys, "members", 0, sizes[groups] - 1, (self.k,))

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> Draws:
        """Barrages for a stack of n draws, one key each; no image is seen and the device is not waited for.

        `order_keys`, where given, choose the transforms and their order, so that draws can share these but not the
        parameters (the fixed order of Sitawarin et al., ICML 2022).
        """
        chosen = (order_keys or keys).map(self.select)
        row = torch.arange(len(keys.device), device=keys.device.device)
        place = row  # where each draw stands in the stack before the round
        rounds = []
        for r in range(self.k):
            members = torch.bincount(chosen.host[:, r], minlength=len(self._names)).tolist()
            order = chosen.device[:, r].argsort(stable=True)
            parts, start = [], 0
            for name, count in zip(self._names, members, strict=True):
                if count:
                    mine = rng.fold(keys.device[order[start : start + count]], name)
                    parts.append(Part(name, count, TRANSFORMS[name].draw(mine, size)))
                    start += count
            rounds.append(Round(place[order], parts))
            place = order.argsort()
        return Draws(rounds, place)

    def __call__(self, x: Tensor, draws: Draws, policy: Policy = combo) -> Tensor:
        """The stack `x` (n, 3, h, w) in [0, 1] through its draws, clipped to [0, 1] after every transform."""
        assert len(x) == len(draws.restore), f"{len(x)} images for {len(draws.restore)} draws"
        for gather, parts in draws.rounds:
            pieces = _Permute.apply(x, gather).split([part.images for part in parts])
            done = [policy(TRANSFORMS[p.name], piece, p.params) for p, piece in zip(parts, pieces, strict=True)]
            x = clip(torch.cat(done))
        return _Permute.apply(x, draws.restore) if draws.rounds else x


_LAYOUTS: dict[tuple[tuple[int, ...], torch.device], tuple[Tensor, Tensor]] = {}


def _layout(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Group sizes and the place of each group's first member, (g,) int64, copied to a device once."""
    if (sizes, device) not in _LAYOUTS:
        size = torch.tensor(sizes, dtype=torch.int64)
        _LAYOUTS[sizes, device] = size.to(device), (size.cumsum(0) - size).to(device)
    return _LAYOUTS[sizes, device]


def described(draws: Draws) -> list[list[str]]:
    """The names of each draw's transforms, in order: for pictures, tests and reports, on the host."""
    stacks: list[list[str]] = [[] for _ in range(len(draws.restore))]
    at = list(range(len(draws.restore)))
    for gather, parts in draws.rounds:
        at = [at[i] for i in gather.tolist()]
        labels = [part.name for part in parts for _ in range(part.images)]
        for i, name in zip(at, labels, strict=True):
            stacks[i].append(name)
    return stacks
