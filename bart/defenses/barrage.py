"""The barrage: k of the ten groups in random order, one transform of each, every image its own (section 4 of the article)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from bart import rng
from bart.bpda.policies import combo
from bart.defenses.permute import Arrangement, arrange
from bart.defenses.streams import aside
from bart.transforms import BART_25, TRANSFORMS
from bart.types import Params, Size, Transform

Policy = Callable[[Transform, Tensor, Params], Tensor]
"""How a transform is applied and differentiated; see `bart.bpda.policies`."""

COLOUR = ("color space", "grey")
"""The groups of transforms that need colours."""

GREY = tuple(name for name in BART_25 if TRANSFORMS[name].group not in COLOUR)
"""The article's transforms that grey images have."""


class Part(NamedTuple):
    """The images of one round that meet the same transform: `images` neighbours of the sorted stack."""

    name: str
    images: int
    params: Params


class Round(NamedTuple):
    """One place in the order: `arrangement` sorts the stack, as the round before left it, by transform. Images that are through
    already come last, and are in no part."""

    arrangement: Arrangement
    parts: list[Part]


class Draws(NamedTuple):
    """What a stack of n draws goes through. `restore` brings the stack back into its own order at the end."""

    rounds: list[Round]
    restore: Arrangement


@dataclass(frozen=True)
class Barrage:
    """Draws and applies barrages.

    k           transforms of one barrage, 0 to the number of groups that have one of `transforms`
    transforms  names that may be drawn; default: the article's 25
    fewest      each image meets a number of transforms drawn uniformly from `fewest` to k; k itself unless told. It meets what
                a barrage of that number would send it through
    Raises ValueError for an unknown name, a k that cannot be met, or a `fewest` outside 0 to k.
    """

    k: int
    transforms: tuple[str, ...] = BART_25
    fewest: int | None = None

    def __post_init__(self) -> None:
        for name in self.transforms:
            TRANSFORMS[name]  # raises for one that is unknown, or whose package cannot be used
        if len(set(self.transforms)) < len(self.transforms):
            raise ValueError(f"transforms name one twice: {', '.join(self.transforms)}; list each once")
        if not 0 <= self.k <= len(self._groups):
            raise ValueError(
                f"k = {self.k}: expected 0 to {len(self._groups)}, the number of groups among the transforms; "
                "each group is drawn at most once"
            )
        if self.fewest is not None and not 0 <= self.fewest <= self.k:
            raise ValueError(f"fewest = {self.fewest}: expected 0 to {self.k}, the most transforms of an image")

    @cached_property
    def _groups(self) -> list[list[str]]:
        """The selected transforms, group by group, in the order of the table."""
        groups: dict[str, list[str]] = {}
        for name in (name for name in TRANSFORMS if name in self.transforms):
            groups.setdefault(TRANSFORMS[name].group, []).append(name)
        return list(groups.values())

    @cached_property
    def names(self) -> list[str]:
        """The selected transforms, group by group: what `select` counts in."""
        return [name for group in self._groups for name in group]

    def select(self, keys: Tensor) -> Tensor:
        """The transforms of each image, (n, k) int64, as places in the selected names: groups without replacement in a
        uniformly random order, then one transform of each group uniformly. Past an image's number stands the count of names."""
        groups = rng.order(keys, "groups", len(self._groups))[:, : self.k]
        sizes, starts = _layout(tuple(len(group) for group in self._groups), keys.device)
        chosen = starts[groups] + rng.integers(keys, "members", 0, sizes[groups] - 1, (self.k,))
        if self.fewest is None:
            return chosen
        number = rng.integers(keys, "number", self.fewest, self.k)
        return chosen.where(torch.arange(self.k, device=keys.device) < number[:, None], len(self.names))

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> Draws:
        """Barrages for a stack of n draws, one key each; no image is seen and the device is not waited for.

        `order_keys`, where given, choose the transforms and their order, so that draws can share these but not the
        parameters (the fixed order of Sitawarin et al., ICML 2022).
        """
        chosen = (order_keys or keys).map(self.select)
        n = len(keys.host)
        orders = chosen.device.T.argsort(dim=1, stable=True)  # (k, n): the stack sorted by transform, in each round
        places = orders.argsort(dim=1)
        start = torch.arange(n, device=orders.device)[None]
        gathers = torch.cat([start, places]).gather(1, torch.cat([orders, start]))
        scatters = torch.cat([places, start]).gather(1, torch.cat([start, orders]))
        arrangements = [Arrangement(*both) for both in zip(gathers, scatters, strict=True)]
        parts = self._parts(chosen, keys.device, size)
        return Draws([Round(a, part) for a, part in zip(arrangements, parts, strict=False)], arrangements[-1])

    def _parts(self, chosen: rng.Mirror, keys: Tensor, size: Size) -> list[list[Part]]:
        """The parts of each round. A transform's parameters are drawn at once for all rounds, as no image meets it twice."""
        n, names = len(keys), self.names
        counts = [torch.bincount(column, minlength=len(names) + 1).tolist() for column in chosen.host.T]
        by_transform = chosen.device.T.flatten().argsort(stable=True)  # transform by transform, then round by round
        sorted_keys = keys[by_transform % n]
        parts: list[list[Part]] = [[] for _ in range(self.k)]
        start = 0
        for m, name in enumerate(names):
            images = [count[m] for count in counts]
            if not sum(images):
                continue
            drawn = TRANSFORMS[name].draw(rng.fold(sorted_keys[start : start + sum(images)], name), size)
            split = {key: value.split(images) for key, value in drawn.items()}
            for r, some in enumerate(images):
                if some:
                    parts[r].append(Part(name, some, {key: value[r] for key, value in split.items()}))
            start += sum(images)
        return parts

    def __call__(self, x: Tensor, draws: Draws, policy: Policy = combo) -> Tensor:
        """The stack `x` (n, 3, h, w) in [0, 1] through its draws, clipped to [0, 1] after every transform.

        Grey images (n, 1, h, w) come back as such: they meet what the first channel would. Raises ValueError where the barrage
        has transforms of the colours (groups 7 and 9), which grey images do not have.
        """
        assert len(x) == len(draws.restore.gather), f"{len(x)} images for {len(draws.restore.gather)} draws"
        if x.shape[1] == 1:
            return self._grey(x, draws, policy)
        for arrangement, parts in draws.rounds:
            busy = [part.images for part in parts]
            *pieces, through = arrange(x, arrangement).split([*busy, len(x) - sum(busy)])
            with aside(x, {p.name for p in parts}) as on:
                done = []
                for part, piece in zip(parts, pieces, strict=True):
                    with on(part.name, (piece, *part.params.values())):
                        done.append(policy(TRANSFORMS[part.name], piece, part.params))
            x = torch.cat([*done, through])
        return arrange(x, draws.restore) if draws.rounds else x

    def _grey(self, x: Tensor, draws: Draws, policy: Policy) -> Tensor:
        """Grey images as three equal channels, of which the first is kept after every transform."""
        coloured = [name for name in self.transforms if TRANSFORMS[name].group in COLOUR]
        if coloured:
            raise ValueError(f"grey images and {coloured[0]!r}: expected transforms of bart.GREY; use Barrage(k, bart.GREY)")

        def first_channel(transform: Transform, x: Tensor, params: Params) -> Tensor:
            alone = {"per_channel": True, "ycbcr": False}  # what looks across channels looks at one
            params = params | {name: torch.full_like(params[name], flag) for name, flag in alone.items() if name in params}
            return policy(transform, x, params)[:, :1].expand(-1, 3, -1, -1)

        return self(x.expand(-1, 3, -1, -1), draws, first_channel)[:, :1]


_LAYOUTS: dict[tuple[tuple[int, ...], torch.device], tuple[Tensor, Tensor]] = {}


def _layout(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Group sizes and the place of each group's first member, (g,) int64, copied to a device once."""
    if (sizes, device) not in _LAYOUTS:
        size = torch.tensor(sizes, dtype=torch.int64)
        _LAYOUTS[sizes, device] = size.to(device), (size.cumsum(0) - size).to(device)
    return _LAYOUTS[sizes, device]


def described(draws: Draws) -> list[list[str]]:
    """The names of each draw's transforms, in order: for pictures, tests and reports, on the host."""
    stacks: list[list[str]] = [[] for _ in range(len(draws.restore.gather))]
    at = list(range(len(stacks)))
    for arrangement, parts in draws.rounds:
        at = [at[i] for i in arrangement.gather.tolist()]
        labels = [part.name for part in parts for _ in range(part.images)]
        for i, name in zip(at, labels, strict=False):  # those that are through come last
            stacks[i].append(name)
    return stacks
