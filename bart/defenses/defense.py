"""Define what a defense is: it draws all its randomness from keys, and its logits are a pure function of images and draws."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bart import rng
from bart.bpda import combo
from bart.types import Params, Settings, Size, Transform

Policy = Callable[[Transform, Tensor, Params], Tensor]
"""How a transform is applied and differentiated; see `bart.bpda.policies`."""

Network = Callable[[Tensor], Tensor]
"""The classifier behind a defense: images (n, 3, h, w) -> logits (n, classes) float32."""


class Stage(NamedTuple):
    """Describe one thing that a draw does to an image: its name in words, and what was drawn for it."""

    name: str
    settings: Settings


class Defense(ABC):
    """Describe a randomised defense of a classifier. A kind is a frozen dataclass that inherits this, or `Preprocessor`.

    It has `random`, `draw` and `logits`. The other members have defaults: what reports, plans and checks ask.
    """

    @property
    @abstractmethod
    def random(self) -> bool:
        """Return whether draws differ."""

    @abstractmethod
    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> Any:
        """Return all randomness of n rows, from one key a row. Sees no pixel, and no row depends on another.

        size        height and width of the images, in pixels
        order_keys  keys that all draws of an image's step share; for defenses that apply their parts in a random order
        """

    @abstractmethod
    def logits(self, classifier: Network, x: Tensor, draws: Any, policy: Policy = combo) -> Tensor:
        """Return logits (n, classes) of images `x` (n, 3, h, w) in [0, 1], each behind its own draw.

        Pure: nothing random, no state, and no row depends on another. `policy` differentiates the transforms.
        """

    def recordable(
        self, x: Tensor, keys: rng.Mirror, order_keys: rng.Mirror | None = None, policy: Policy = combo
    ) -> Hashable | None:
        """Return what decides which work `draw` and `logits` queue on a GPU, beside the shapes of tensors, for images like `x`
        and one key a row. Calls for which it is equal differ in values on the device alone, so one can be recorded and replayed
        for the others. None (the default): that can't be known.
        """
        return None

    @property
    def differentiated(self) -> tuple[str, ...]:
        """Return the names of the transforms that a policy differentiates, each of which may need a BPDA network."""
        return ()

    @property
    def cost(self) -> float:
        """Return what a draw costs beside one pass of the classifier, in transforms of a barrage; a further pass costs five."""
        return 0.0

    @property
    def noise(self) -> float | None:
        """Return the standard deviation of Gaussian noise that is added to the image before all else; None if there is none."""
        return None

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the names of the parts that a draw may have; none if all draws are made of the same."""
        return ()

    def parts(self, draws: Any) -> Sequence[Sequence[str]]:
        """Return the names of the parts that each row's draw is made of, in their order, on the host."""
        raise NotImplementedError(f"{type(self).__name__} has no choices")

    def met(self, keys: rng.Mirror, size: Size) -> Tensor:
        """Return which of `choices` each row's draw has, (n, choices) bool on the host, from one key a row."""
        met = torch.zeros(len(keys.host), len(self.choices), dtype=torch.bool, device="cpu")
        if self.choices:
            for row, names in enumerate(self.parts(self.draw(keys, size))):
                met[row, [self.choices.index(name) for name in names]] = True
        return met

    def stages(self, x: Tensor, draws: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield what the draw of one image, (1, 3, h, w) in [0, 1], makes of it, step by step: a name and the picture after it.

        None for a defense that leaves the image as it is.
        """
        yield from ()

    def made_of(self, draws: Any) -> Sequence[Stage]:
        """Return the stages of the draw of one image in their order, with what was drawn for each: what `stages` shows, without
        an image. Fields of noise have no settings: a seed tells a reader nothing.
        """
        return ()

    def seen(self, x: Tensor, draws: Any) -> Tensor | None:
        """Return what the classifier gets of one image `x` (1, 3, h, w), (m, 3, h', w'), a row for each image that goes through
        it; None if the defense acts inside the classifier, which gets the image as it is.

        Default: what `logits` hands to a classifier that only looks.
        """
        seen = list[Tensor]()

        def classifier(images: Tensor) -> Tensor:
            seen.append(images)
            return images.new_zeros(len(images), 1)

        self.logits(classifier, x, draws)
        return torch.cat(seen)

    def size_after(self, size: Size) -> Size:
        """Return the height and width of the images that the classifier gets, in pixels; the same for all draws."""
        return size

    def alone(self) -> Sequence["Defense"]:
        """Return defenses that together run all code that a draw may need, so that it can be compiled beforehand."""
        return (self,)

    def undefended(self) -> "Defense":
        """Return what is left without this defense, for attacks on the undefended model."""
        return Undefended()


class Preprocessor(Defense):
    """Describe a defense that changes images before the classifier. It has `random`, `draw` and `apply`."""

    @abstractmethod
    def apply(self, x: Tensor, draws: Any, policy: Policy = combo) -> Tensor:
        """Return the images (n, 3, h', w') that the classifier gets, from `x` (n, 3, h, w) in [0, 1], each by its own draw."""

    def logits(self, classifier: Network, x: Tensor, draws: Any, policy: Policy = combo) -> Tensor:
        """Return the classifier's logits (n, classes) of the images behind their draws."""
        return classifier(self.apply(x, draws, policy))

    def stages(self, x: Tensor, draws: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield the one step of most preprocessors: the name of the kind in words, and the image that the classifier gets."""
        yield self.in_words, self.apply(x, draws)

    def made_of(self, draws: Any) -> Sequence[Stage]:
        """Return the one stage of most preprocessors."""
        return [Stage(self.in_words, self.settings(draws))]

    def settings(self, draws: Any) -> Settings:
        """Return what was drawn for one image, by name, as plain values; default: nothing that can be named."""
        return {}

    @property
    def in_words(self) -> str:
        """Return the name of the kind in words: "resize pad"."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__).lower()


@dataclass(frozen=True)
class Undefended(Preprocessor):
    """Leave images as they are."""

    @property
    def random(self) -> bool:
        """Return False."""
        return False

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> None:
        """Return nothing: there is nothing to draw."""

    def apply(self, x: Tensor, draws: None, policy: Policy = combo) -> Tensor:
        """Return the images themselves."""
        return x

    def recordable(
        self, x: Tensor, keys: rng.Mirror, order_keys: rng.Mirror | None = None, policy: Policy = combo
    ) -> Hashable | None:
        """Return the same for all: there is no work."""
        return ()

    def stages(self, x: Tensor, draws: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield nothing."""
        yield from ()

    def made_of(self, draws: Any) -> Sequence[Stage]:
        """Return nothing."""
        return ()

    def alone(self) -> Sequence[Defense]:
        """Return nothing: no code is to compile."""
        return ()
