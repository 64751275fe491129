"""Find out whether a model is random: in its passes, by the function that makes it, or by modules left in training mode."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bart.training import evaluating
from pipeline.errors import BadInput, one_line

SAME = 1e-4
"""Share of the largest logit by which two passes of an image may differ: sums in another order."""

OWN_KIND = "randomised models need a defense of their own kind, which barrage does not have yet"

REMEDY = f"take the randomness out of eval mode; {OWN_KIND}"


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether logits are the same but for rounding."""
    return bool((a - b).abs().amax() <= SAME * b.abs().amax())


@torch.no_grad()
def drawn(network: nn.Module, x: Tensor) -> tuple[str, Tensor]:
    """Return from which generator a network draws random numbers in each pass, and its logits of images `x` (n, 3, h, w).

    The generator is empty if there is none. One that moves on makes passes random, however seldom logits show it; one that
    the network seeds in each pass does not move on. Another thread may draw too, but not in every pass.
    """
    moved: set[str] = set()
    for attempt in range(3):
        before = _generators(network)
        logits = network(x)
        now = {name for name, state in _generators(network).items() if before.get(name) != state}
        moved = moved & now if attempt else now
        if not moved:
            break
    return min(moved, default=""), logits


def _generators(network: nn.Module) -> Mapping[str, Any]:
    """Return the state of each generator that a pass may draw from: those of libraries, by name, and the network's own."""
    found: dict[str, Any] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state(),
        "Python": random.getstate(),
    }
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            found[f"{name}.{attribute}".lstrip(".")] = _state(value)
    return {name: _comparable(state) for name, state in found.items() if state is not None}


def _comparable(state: Any) -> Any:
    """Return the state of a generator as values that `==` compares, arrays as bytes."""
    if isinstance(state, Mapping):
        return {name: _comparable(value) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return tuple(_comparable(value) for value in state)
    return state.tobytes() if isinstance(state, np.ndarray) else state


def _state(value: object) -> Any:
    """Return the state of a generator of random numbers; None for anything else."""
    match value:
        case torch.Generator():
            return value.get_state().numpy().tobytes()
        case np.random.Generator():
            return value.bit_generator.state
        case np.random.RandomState():
            return value.get_state()
        case random.Random():
            return value.getstate()
    return None


@torch.no_grad()
def refuse_a_chance_network(network: nn.Module, again: nn.Module, architecture: str, x: Tensor) -> None:
    """Raise BadInput unless two calls of a function make the same network, and make it as it is evaluated.

    x   images (n, 3, h, w) that the network takes
    """
    left = [name for name, module in again.named_modules() if module.training and not again.training]
    try:
        as_made = again(x.clone()) if left else None
        with evaluating(network), evaluating(again):
            first, second = network(x.clone()), again(x.clone())  # one may change its images in place
    except Exception as error:  # a stranger's network may raise anything
        raise BadInput(f"{architecture} can't take two images at once ({one_line(error)}): mend its forward") from None
    if as_made is not None and not same(as_made, second):
        raise BadInput(
            f"architecture {architecture}: {left[0]} stays in training mode while the model is in eval mode, so it is random "
            f"or depends on its batch, and one draw would judge it: call eval() on the whole model in the function; {OWN_KIND}"
        )
    if not same(first, second):
        raise BadInput(
            f"architecture {architecture} makes another network in each call, and each worker would judge its own: load "
            "trained weights in the function, or name their file in `weights`"
        )
