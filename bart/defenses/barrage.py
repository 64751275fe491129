"""Draw and apply barrages: k of the ten groups in random order, one transform of each (article, section 4).

Every image has its own barrage.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from bart import dispatch, rng
from bart.bpda import combo, without_networks
from bart.defenses.defense import Defense, Policy, Preprocessor, Stage
from bart.defenses.permute import Permutation, rearranged
from bart.defenses.streams import side_streams
from bart.transforms import BART_25, TRANSFORMS
from bart.types import Params, Size, Transform, apart

COLOUR = ("color space", "grey")
"""The groups of transforms that need colours: 7 and 9 of the article."""

GREY = tuple(name for name in BART_25 if TRANSFORMS[name].group not in COLOUR)
"""The article's transforms that grey images have: all but those of groups 7 and 9."""


class Part(NamedTuple):
    """Describe the images of one round that meet the same transform: the next `images` rows of the sorted stack."""

    name: str
    images: int
    params: Params


class Round(NamedTuple):
    """Describe one place in the order of transforms.

    `permutation` sorts the stack, as the previous round left it, by this round's transform. Images that have met all of their
    transforms come last and are in no part.
    """

    permutation: Permutation
    parts: list[Part]


class Arranged(NamedTuple):
    """Describe which transforms a stack of n draws meets, round by round.

    `restore` returns the stack to its original order at the end.
    """

    rounds: list[Round]
    restore: Permutation


@dataclass(frozen=True)
class Draws:
    """Hold what a stack of n draws follows from, and arrange it when it is asked for: kernels for whole barrages do not ask.

    keys, orders    one per row: of the parameters, and of the transforms and their order
    size            height and width of the images
    until           the number of rounds, from the first; default: all
    """

    keys: rng.Mirror
    orders: rng.Mirror
    size: Size
    arrange: Callable[[], Arranged]
    until: int | None = None

    @cached_property
    def arranged(self) -> Arranged:
        """Return which transforms the stack meets in all rounds, with their parameters."""
        return self.arrange()

    @property
    def rounds(self) -> list[Round]:
        """Return the transforms that the stack meets, round by round."""
        return self.arranged.rounds[: self.until]

    @property
    def restore(self) -> Permutation:
        """Return what puts the stack back into its order at the end."""
        return self.arranged.restore


@dataclass(frozen=True)
class Barrage(Preprocessor):
    """Draw and apply barrages.

    k           transforms of one barrage, 0 to the number of groups that have one of `transforms`
    transforms  names that may be drawn (default: the article's 25)
    fewest      each image meets a number of transforms drawn uniformly from `fewest` to k, the first ones of its k
                (default: always k)
    Raises ValueError for an unknown name, a k out of range, or a `fewest` outside 0 to k.
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
    def chosen_from(self) -> dict[str, Transform]:
        """Return the selected transforms by name, looked up once: the table asks all packages at each look-up."""
        return {name: TRANSFORMS[name] for name in self.transforms}

    @cached_property
    def _groups(self) -> list[list[str]]:
        """Return the selected transforms, group by group, in the order of the table."""
        groups: dict[str, list[str]] = {}
        for name in (name for name in TRANSFORMS if name in self.transforms):
            groups.setdefault(self.chosen_from[name].group, []).append(name)
        return list(groups.values())

    @cached_property
    def names(self) -> list[str]:
        """Return the selected transforms, group by group: `select` returns indices into this list."""
        return [name for group in self._groups for name in group]

    @cached_property
    def _coloured(self) -> list[str]:
        """Return the selected transforms that grey images do not have."""
        return [name for name in self.transforms if self.chosen_from[name].group in COLOUR]

    def select(self, keys: Tensor) -> Tensor:
        """Return the transforms of each image, (n, k) int64, as indices into `names`, from one key an image.

        Groups are drawn without replacement in a uniformly random order, then one transform of each group uniformly. With
        `fewest`, the columns beyond an image's number of transforms hold len(names).

        Example: of the groups noise = ("noise",), fft = ("fft",) and grey = ("grey_mix", "grey_two_thirds"), `names` is these
        four in this order. With k = 2, the rows [0, 3], [1, 0] and [0, 1] say: image 0 meets noise, then grey_two_thirds;
        image 1 meets fft, then noise; image 2 meets noise, then fft.
        """
        groups = rng.order(keys, "groups", len(self._groups))[:, : self.k]
        sizes, starts = _layout(tuple(len(group) for group in self._groups), keys.device)
        selected = starts[groups] + rng.integers(keys, "members", 0, sizes[groups] - 1, (self.k,))
        if self.fewest is None:
            return selected
        number = rng.integers(keys, "number", self.fewest, self.k)
        return selected.where(torch.arange(self.k, device=keys.device) < number[:, None], len(self.names))

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> Draws:
        """Return barrages for a stack of n draws, one key each. Sees no image and never waits for the device.

        order_keys  choose the transforms and their order (default: `keys`). So draws can share these but not the parameters:
                    the fixed order of Sitawarin et al., ICML 2022

        Example: three images and k = 2, as in `select`, with the transforms A = noise, B = fft, D = grey_two_thirds.

                      image 0   image 1   image 2   stack sorted by transform   parts           gather
            round 0      A         B         A      images 0, 2, 1              A x 2, B x 1    [0, 2, 1]
            round 1      D         A         B      images 1, 2, 0              A, B, D x 1     [2, 1, 0]
            restore                                 images 0, 1, 2                              [2, 0, 1]

        Each permutation acts on the stack as the previous round left it. Round 1 needs image 1 first, and round 0 left it at
        place 2: so `gather` begins with 2. `restore` finds image 0 at place 2, image 1 at place 0 and image 2 at place 1.
        """
        orders = order_keys or keys
        return Draws(keys, orders, size, lambda: self._arranged(keys, orders, size))

    def _arranged(self, keys: rng.Mirror, order_keys: rng.Mirror, size: Size) -> Arranged:
        """Return which transforms a stack meets, round by round, with their parameters."""
        selected = order_keys.map(self.select)
        n = len(keys.host)
        orders = selected.device.T.argsort(dim=1, stable=True)  # (k, n): the stack sorted by transform, in each round
        places = orders.argsort(dim=1)
        start = torch.arange(n, device=orders.device)[None]
        gathers = torch.cat([start, places]).gather(1, torch.cat([orders, start]))
        scatters = torch.cat([places, start]).gather(1, torch.cat([start, orders]))
        permutations = [Permutation(*both) for both in zip(gathers, scatters, strict=True)]
        parts = self._parts(selected, keys.device, size)
        return Arranged([Round(a, part) for a, part in zip(permutations, parts, strict=False)], permutations[-1])

    def _parts(self, selected: rng.Mirror, keys: Tensor, size: Size) -> list[list[Part]]:
        """Return the parts of each round.

        A transform's parameters are drawn at once for all rounds, since no image meets it twice.
        """
        n, names = len(keys), self.names
        counts = [torch.bincount(column, minlength=len(names) + 1).tolist() for column in selected.host.T]
        by_transform = selected.device.T.flatten().argsort(stable=True)  # transform by transform, then round by round
        sorted_keys = keys[by_transform % n]
        parts: list[list[Part]] = [[] for _ in range(self.k)]
        start = 0
        for m, name in enumerate(names):
            images = [count[m] for count in counts]
            if not sum(images):
                continue
            drawn = self.chosen_from[name].draw(rng.fold(sorted_keys[start : start + sum(images)], name), size)
            split = {key: value.split(images) for key, value in drawn.items()}
            for r, count in enumerate(images):
                if count:
                    parts[r].append(Part(name, count, {key: value[r] for key, value in split.items()}))
            start += sum(images)
        return parts

    def apply(self, x: Tensor, draws: Draws, policy: Policy = combo) -> Tensor:
        """Return the stack `x` (n, 3, h, w) in [0, 1] after its draws, clipped to [0, 1] after every transform.

        In the example of `draw`, round 0 moves the stack to images 0, 2, 1, applies A to the first two rows and B to the last.
        Round 1 moves it to images 1, 2, 0 and applies A, B and D to one row each. `restore` moves it to images 0, 1, 2. Each
        move also clips.

        Grey images (n, 1, h, w) stay grey: they meet what the first channel would. Raises ValueError if the barrage has
        transforms of groups 7 and 9 (colour space, grey), which grey images do not have.
        """
        assert len(x) == len(draws.keys.host), f"{len(x)} images for {len(draws.keys.host)} draws"
        if x.shape[1] == 1 and self._coloured:
            name = self._coloured[0]
            raise ValueError(f"grey images and {name!r}: expected transforms of bart.GREY; use Barrage(k, bart.GREY)")
        if (whole := self._whole(x, draws, policy)) is not None:
            return whole
        if x.shape[1] == 1:
            return self._grey(x, draws, policy)
        stacks = [x]
        for permutation, parts in draws.rounds:
            counts = [part.images for part in parts]
            *pieces, finished = rearranged(stacks, permutation, [*counts, len(x) - sum(counts)])
            with side_streams(x, {part.name for part in parts}) as stream_of:
                outputs = []
                for part, piece in zip(parts, pieces, strict=True):
                    with stream_of(part.name, (piece, *part.params.values())):
                        outputs.append(policy(self.chosen_from[part.name], piece, part.params))
            stacks = [*outputs, finished]
        return rearranged(stacks, draws.restore, [len(x)])[0] if draws.rounds else x

    def _whole(self, x: Tensor, draws: Draws, policy: Policy) -> Tensor | None:
        """Return the stack after its draws if kernels can take it through all of them at once; else None."""
        plainly = self._plainly(x, draws, policy)
        through = dispatch.barrage(self.names, x) if plainly is not None else None
        return through(x, self, draws.keys, draws.orders, plainly) if through else None

    def _plainly(self, x: Tensor, draws: Draws, policy: Policy) -> bool | None:
        """Return whether all derivatives are the identity, if kernels can take images like `x` through all draws; else None."""
        able = len(x) and self.k and draws.until is None and tuple(x.shape[2:]) == draws.size
        if not able or dispatch.barrage(self.names, x) is None:
            return None
        derivative = without_networks(policy, self.chosen_from.values())
        return None if derivative is None else derivative == "identity"

    def recordable(
        self, x: Tensor, keys: rng.Mirror, order_keys: rng.Mirror | None = None, policy: Policy = combo
    ) -> Hashable | None:
        """Return the plan of the launches where kernels take whole barrages: nearly all draws have the same."""
        if not self.k:
            return ()
        draws = self.draw(keys, (x.shape[2], x.shape[3]), order_keys)
        plainly = self._plainly(x, draws, policy)
        if plainly is None:
            return None
        return dispatch.plan(x[:1].expand(len(keys.host), -1, -1, -1), self, draws.orders, plainly)

    def _grey(self, x: Tensor, draws: Draws, policy: Policy) -> Tensor:
        """Apply the draws to grey images as three equal channels, of which the first is kept after every transform."""

        def first_channel(transform: Transform, x: Tensor, params: Params) -> Tensor:
            return policy(transform, x, apart(params))[:, :1].expand(-1, 3, -1, -1)

        return self.apply(x.expand(-1, 3, -1, -1), draws, first_channel)[:, :1]

    @property
    def random(self) -> bool:
        """Return whether there is a transform at all."""
        return self.k > 0

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the transforms that a barrage may have, in the order in which they were given."""
        return self.transforms if self.k else ()

    differentiated = choices

    @property
    def cost(self) -> float:
        """Return the transforms of an image, at most."""
        return self.k

    def parts(self, draws: Draws) -> list[list[str]]:
        """Return the names of each draw's transforms, in their order, on the host."""
        return described(draws)

    def made_of(self, draws: Draws) -> list[Stage]:
        """Return the transforms of the barrage of one image in their order, with their parameters."""
        met = [part for done in draws.rounds for part in done.parts]
        return [Stage(part.name, self.chosen_from[part.name].settings(part.params)) for part in met]

    def met(self, keys: rng.Mirror, size: Size) -> Tensor:
        """Return which of `choices` each barrage has, (n, choices) bool on the host; no parameters are drawn for it."""
        chosen = self.select(keys.host)
        met = torch.zeros(
            len(chosen), len(self.names) + 1, dtype=torch.bool, device="cpu"
        )  # the last one: no transform, of `fewest`
        met.scatter_(1, chosen, torch.ones_like(chosen, dtype=torch.bool))
        return met[:, [self.names.index(name) for name in self.choices]]

    def stages(self, x: Tensor, draws: Draws) -> Iterator[tuple[str, Tensor]]:
        """Yield the transforms of the barrage of one image, (1, 3, h, w), in their order, each with the image after it."""
        (names,) = described(draws)
        for count, name in enumerate(names, 1):
            yield name, self.apply(x, replace(draws, until=count, arrange=lambda: draws.arranged))

    def alone(self) -> Sequence[Defense]:
        """Return a barrage of each transform."""
        return [Barrage(1, (name,)) for name in self.choices]


_LAYOUTS: dict[tuple[tuple[int, ...], torch.device], tuple[Tensor, Tensor]] = {}


def _layout(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the sizes of the groups and the index of each group's first member, (g,) int64, copied to a device once."""
    if (sizes, device) not in _LAYOUTS:
        size = torch.tensor(sizes, dtype=torch.int64, device="cpu")
        _LAYOUTS[sizes, device] = size.to(device), (size.cumsum(0) - size).to(device)
    return _LAYOUTS[sizes, device]


def described(draws: Draws) -> list[list[str]]:
    """Return the names of each draw's transforms, in order, on the host: for pictures, tests and reports."""
    stacks: list[list[str]] = [[] for _ in range(len(draws.keys.host))]
    places = list(range(len(stacks)))
    for permutation, parts in draws.rounds:
        places = [places[i] for i in permutation.gather.tolist()]
        labels = [part.name for part in parts for _ in range(part.images)]
        for i, name in zip(places, labels, strict=False):  # finished images come last and have no label
            stacks[i].append(name)
    return stacks
