"""Put several defenses in a row: each gets what the one before it makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bart import rng
from bart.bpda import combo
from bart.defenses.defense import Defense, Network, Policy, Preprocessor, Stage
from bart.types import Size


@dataclass(frozen=True)
class Compose(Defense):
    """Apply `defenses` in their order, the first one to the image; each has keys of its own.

    All but the last must be preprocessors: only the last one may act inside the classifier, or call it several times. Raises
    ValueError if another is none, or if there is no defense.
    """

    defenses: tuple[Defense, ...]

    def __post_init__(self) -> None:
        if not self.defenses:
            raise ValueError("a composition of nothing: name at least one defense")
        for defense in self.defenses[:-1]:
            if not isinstance(defense, Preprocessor):
                raise ValueError(f"{type(defense).__name__} calls the classifier itself: put it at the end")

    @property
    def random(self) -> bool:
        """Return whether any of them is."""
        return any(defense.random for defense in self.defenses)

    @property
    def differentiated(self) -> tuple[str, ...]:
        """Return those of all."""
        return tuple(dict.fromkeys(name for defense in self.defenses for name in defense.differentiated))

    @property
    def cost(self) -> float:
        """Return that of all together."""
        return sum(defense.cost for defense in self.defenses)

    @property
    def noise(self) -> float | None:
        """Return that of the first: what comes after it is part of what the noise smooths."""
        return self.defenses[0].noise

    @property
    def choices(self) -> tuple[str, ...]:
        """Return those of all, each with the place of its defense: "2: jpeg"."""
        return tuple(_placed(place, name) for place, defense in enumerate(self.defenses, 1) for name in defense.choices)

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> list[Any]:
        """Return the draws of each defense, for the size of the images that it gets."""
        draws = []
        for place, defense in enumerate(self.defenses):
            own = keys.map(rng.fold, "part").map(rng.fold, place)
            order = order_keys.map(rng.fold, "part").map(rng.fold, place) if order_keys else None
            draws.append(defense.draw(own, size, order))
            size = defense.size_after(size)
        return draws

    def size_after(self, size: Size) -> Size:
        """Return the size after all of them."""
        for defense in self.defenses:
            size = defense.size_after(size)
        return size

    def logits(self, classifier: Network, x: Tensor, draws: list[Any], policy: Policy = combo) -> Tensor:
        """Return the logits (n, classes) of the last defense, for the images that the others make of `x` (n, 3, h, w)."""
        return self.defenses[-1].logits(classifier, self._before_last(x, draws, policy), draws[-1], policy)

    def _before_last(self, x: Tensor, draws: list[Any], policy: Policy = combo) -> Tensor:
        """Return the images (n, 3, h', w') that the last defense gets."""
        for defense, drawn in zip(self.defenses[:-1], draws, strict=False):
            assert isinstance(defense, Preprocessor)
            x = defense.apply(x, drawn, policy)
        return x

    def parts(self, draws: list[Any]) -> Sequence[Sequence[str]]:
        """Return the parts of each row, of all defenses that have choices, in their order."""
        found = [
            [[_placed(place, name) for name in names] for names in defense.parts(drawn)]
            for place, (defense, drawn) in enumerate(zip(self.defenses, draws, strict=True), 1)
            if defense.choices
        ]
        return [[name for names in row for name in names] for row in zip(*found, strict=True)]

    def stages(self, x: Tensor, draws: list[Any]) -> Iterator[tuple[str, Tensor]]:
        """Yield the steps of each defense in turn."""
        for defense, drawn in zip(self.defenses, draws, strict=True):
            yield from defense.stages(x, drawn)
            x = defense.apply(x, drawn) if isinstance(defense, Preprocessor) else x

    def made_of(self, draws: list[Any]) -> Sequence[Stage]:
        """Return the stages of each defense in turn."""
        return [stage for defense, drawn in zip(self.defenses, draws, strict=True) for stage in defense.made_of(drawn)]

    def seen(self, x: Tensor, draws: list[Any]) -> Tensor | None:
        """Return what the last defense hands to the classifier, (m, 3, h', w'), or gets where it acts inside the classifier."""
        last = self.defenses[-1]
        x = self._before_last(x, draws)
        found = last.seen(x, draws[-1])
        return x if found is None and len(self.defenses) > 1 else found

    def alone(self) -> Sequence[Defense]:
        """Return what each of them needs."""
        return [part for defense in self.defenses for part in defense.alone()]


def _placed(place: int, name: str) -> str:
    return f"{place}: {name}"
