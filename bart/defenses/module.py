"""Defend by code that others wrote, unmodified: a model that is random itself, or a stochastic module before the model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bart import rng
from bart.autograd import straight_through
from bart.bpda import combo
from bart.defenses.defense import Defense, Network, Policy, Preprocessor
from bart.keyed import Code, Habits, Keyed
from bart.types import Size


def owner(network: Network) -> nn.Module:
    """Return the module that a network is, or is a method of; one without content for any other function."""
    found = network if isinstance(network, nn.Module) else getattr(network, "__self__", None)
    return found if isinstance(found, nn.Module) else nn.Module()


class ByKeys(Defense):
    """Describe a defense whose draws are the keys themselves: what is drawn from them shows when its code runs."""

    keyed: Keyed

    @property
    def random(self) -> bool:
        """Return True: draws differ."""
        return True

    def draw(self, keys: rng.Mirror, size: Size, order_keys: rng.Mirror | None = None) -> rng.Mirror:
        """Return the keys."""
        return keys

    def code(self, network: Network) -> Code:
        """Return what is run for logits, given the classifier."""
        raise NotImplementedError

    def logits(self, classifier: Network, x: Tensor, draws: rng.Mirror, policy: Policy = combo) -> Tensor:
        """Return logits (n, classes) of images `x` (n, c, h, w) in [0, 1]. Raises UnknownRandomness."""
        return self.keyed(self.code(classifier), x, draws)

    def seen(self, x: Tensor, draws: rng.Mirror) -> Tensor | None:
        """Return None: the classifier gets the image as it is."""
        return None

    def habits(self, classifier: Network, x: Tensor) -> Habits:
        """Return how its code draws for images of the size and device of `x`. Raises UnknownRandomness."""
        return self.keyed.habits(self.code(classifier), x)


@dataclass(frozen=True)
class RandomModel(ByKeys):
    """Take a model as it is that draws random numbers by itself."""

    keyed: Keyed = field(default_factory=Keyed)

    def code(self, network: Network) -> Code:
        """Return the model itself."""
        return Code(network, (owner(network),))

    def undefended(self) -> Defense:
        """Return the defense itself: the model can't be had without it."""
        return self


@dataclass(frozen=True)
class RandomModule(ByKeys, Preprocessor):
    """Put a module that draws random numbers by itself before the classifier. It may change the size of images.

    make        returns the module, (n, c, h, w) in [0, 1] -> (n, c, h', w'); called once
    identity    differentiate it as if it did nothing (BPDA; Athalye et al., ICML 2018), for one without a useful derivative
    """

    make: Callable[[], nn.Module]
    keyed: Keyed = field(default_factory=Keyed)
    identity: bool = False

    @cached_property
    def module(self) -> nn.Module:
        """Return the module, in the mode in which it was made, without gradients of its weights."""
        return self.make().requires_grad_(False)

    def code(self, network: Network) -> Code:
        """Return the module and the classifier behind it."""
        return Code(lambda x: network(self._changed(x)), (owner(network), self.module))

    def apply(self, x: Tensor, draws: rng.Mirror, policy: Policy = combo) -> Tensor:
        """Return what the module makes of images (n, c, h, w) in [0, 1]. Raises UnknownRandomness."""
        return self.keyed(Code(self._changed, (self.module,)), x, draws)

    def logits(self, classifier: Network, x: Tensor, draws: Any, policy: Policy = combo) -> Tensor:
        """Return logits (n, classes): module and classifier run together, so that an image's bits are its own in both."""
        return ByKeys.logits(self, classifier, x, draws, policy)

    def seen(self, x: Tensor, draws: rng.Mirror) -> Tensor | None:
        """Return what the module makes of one image, (1, 3, h', w')."""
        return self.apply(x, draws)

    def size_after(self, size: Size) -> Size:
        """Return the height and width of what the module makes of an image."""
        key = rng.Mirror.of(torch.zeros(1, dtype=torch.int64, device="cpu"), "cpu")
        with torch.no_grad():
            height, width = self.apply(torch.zeros(1, 3, *size, dtype=torch.float32, device="cpu"), key).shape[-2:]
        return height, width

    def _changed(self, x: Tensor) -> Tensor:
        module = self.module.to(x.device)
        return straight_through(x, module(x.detach())) if self.identity else module(x)
