"""Defend inside a network, at named layers: noise, dropout and stochastic pruning, all drawn from keys."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bart.defenses.defense import Network
from bart.defenses.module import ByKeys, owner
from bart.keyed import Code, Keyed

PLACES = ("input", "output", "weight")
"""Where noise is added to a layer."""

UNITS = ("elements", "channels", "activations")
"""What dropout drops: single values, whole channels, or the activations that a draw by their size leaves out."""


def matching(network: nn.Module, patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    """Return the layers of a network whose names match, such as "layer1.0.conv2" or "layer?.*.conv*".

    Raises ValueError for a pattern without any.
    """
    inner = getattr(network, "model", network)  # a `Classifier` holds the user's own network
    layers = {name: layer for name, layer in inner.named_modules() if name}
    found: dict[str, nn.Module] = {}
    for pattern in patterns:
        named = {name: layer for name, layer in layers.items() if fnmatchcase(name, pattern)}
        if not named:
            near = get_close_matches(pattern, layers, 1) or list(layers)[:5]
            raise ValueError(f"no layer of the model is called {pattern!r}: did you mean {', '.join(near)}? * matches any text")
        found |= named
    return found


@dataclass(frozen=True)
class Layers(ByKeys):
    """Describe a defense that acts at layers of a network, found by the patterns `layers`."""

    layers: tuple[str, ...]

    def code(self, network: Network) -> Code:
        """Return the network, with hooks around each pass. Raises ValueError for a layer that it lacks."""
        module = owner(network)
        found = matching(module, self.layers)

        @contextmanager
        def hooks() -> Iterator[None]:
            with ExitStack() as stack:
                for layer in found.values():
                    stack.enter_context(self.at(layer))
                yield

        return Code(network, (module,), hooks)

    def at(self, layer: nn.Module) -> Any:
        """Return a context in which one layer is defended."""
        raise NotImplementedError


@contextmanager
def _hooked(add: Callable[[Any], Any], hook: Callable[..., Any]) -> Iterator[None]:
    """Hold a hook of a layer as long as this is entered."""
    handle = add(hook)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class FeatureNoise(Layers):
    """Add normal noise at layers.

    sigma       its standard deviation
    at_place    one of PLACES: before a layer, as the random self-ensemble (Liu et al., ECCV 2018), behind it, or in its weights
    relative    sigma is a share of the standard deviation of what it is added to, as in parametric noise injection (He et al.,
                CVPR 2019), of each image by itself
    Noise in weights is one for each image, so its rows run one by one. Raises ValueError for another place or a sigma below 0.
    """

    sigma: float = 0.1
    at_place: str = "input"
    relative: bool = False
    keyed: Keyed = field(default_factory=Keyed)

    def __post_init__(self) -> None:
        if self.at_place not in PLACES or not self.sigma >= 0:
            raise ValueError(f"noise of {self.sigma} at {self.at_place!r}: expected 0 or more, at one of {', '.join(PLACES)}")

    def at(self, layer: nn.Module) -> Any:
        """Return a context in which one layer is noisy. Raises ValueError for noise in weights that it does not have."""
        if self.at_place == "output":
            return _hooked(layer.register_forward_hook, lambda _, inputs, output: self._noisy(output))
        if self.at_place == "input":
            return _hooked(layer.register_forward_pre_hook, lambda _, inputs: (self._noisy(inputs[0]), *inputs[1:]))
        return self._weights(layer)

    def _noisy(self, x: Tensor) -> Tensor:
        """Return `x` (n, ...) with noise of each row."""
        noise = self.sigma * torch.randn_like(x)
        if self.relative:
            noise = noise * x.flatten(1).std(1, correction=0).view(-1, *[1] * (x.dim() - 1))
        return x + noise

    @contextmanager
    def _weights(self, layer: nn.Module) -> Iterator[None]:
        """Make the weights of one layer noisy at each pass through it."""
        weight = layer._parameters.get("weight")
        if weight is None:
            raise ValueError(f"a layer of kind {type(layer).__name__} has no weights: name others, or put the noise elsewhere")

        def before(module: nn.Module, inputs: Any) -> None:
            scale = self.sigma * (weight.std(correction=0) if self.relative else 1)
            module._parameters["weight"] = weight + scale * torch.randn(weight.shape, dtype=torch.float32, device="cpu").to(
                weight
            )  # type: ignore[assignment]

        try:
            with _hooked(layer.register_forward_pre_hook, before):
                yield
        finally:
            layer._parameters["weight"] = weight


@dataclass(frozen=True)
class Dropout(Layers):
    """Drop what layers return, at test time.

    rate        probability that a value or channel is dropped; what is left is scaled by 1 / (1 - rate)
    unit        one of UNITS
    samples     of stochastic activation pruning (Dhillon et al., ICLR 2018), unit "activations": draws with replacement, in
                proportion to the absolute value, as a share of the layer's activations; what is never drawn is dropped
    Raises ValueError for another unit, a rate outside 0 to 1 (1 excluded), or samples that are not above 0.
    """

    rate: float = 0.5
    unit: str = "elements"
    samples: float = 1.0
    keyed: Keyed = field(default_factory=Keyed)

    def __post_init__(self) -> None:
        if self.unit not in UNITS or not 0 <= self.rate < 1 or not self.samples > 0:
            raise ValueError(
                f"dropout of {self.unit!r}, rate {self.rate}, samples {self.samples}: expected one of {', '.join(UNITS)}, "
                "a rate of 0 or more and below 1, samples above 0"
            )

    def at(self, layer: nn.Module) -> Any:
        """Return a context in which the output of one layer is thinned."""
        return _hooked(layer.register_forward_hook, lambda _, inputs, output: self._thinned(output))

    def _thinned(self, x: Tensor) -> Tensor:
        """Return `x` (n, ...) with some values 0."""
        if self.unit == "activations":
            return pruned(x, self.samples)
        if self.unit == "channels" and x.dim() > 2:
            return functional.dropout2d(x, self.rate, True) if x.dim() == 4 else functional.dropout1d(x, self.rate, True)
        return functional.dropout(x, self.rate, True)


def pruned(x: Tensor, samples: float) -> Tensor:
    """Return activations `x` (n, ...) after stochastic pruning: each is kept with the probability of being drawn at least once
    in `samples` x count draws, and divided by that probability, so that the mean is `x`.

    Source: Dhillon et al., ICLR 2018, equation 3.
    """
    flat = x.flatten(1)
    size = flat.abs()
    share = size / size.sum(1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    count = max(1, round(samples * flat.shape[1]))
    weights = torch.where(size.sum(1, keepdim=True) > 0, size, 1).detach()
    kept = torch.zeros_like(flat).scatter_(1, torch.multinomial(weights, count, replacement=True), 1)
    chance = -torch.expm1(count * torch.log1p(-share))
    return torch.where(kept > 0, flat / torch.where(chance > 0, chance, 1), 0).view_as(x)
