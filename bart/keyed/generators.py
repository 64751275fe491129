"""Find the generators that modules may draw from, see which of them they do draw from, and start them from keys."""

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def of(modules: Iterable[nn.Module]) -> list[Any]:
    """Return the generators of Python and NumPy that modules may draw from: the global ones, and those that are attributes of
    the modules, of their submodules or of the files that define them.
    """
    found: list[Any] = [random._inst]  # what random.random() and the others draw from
    kinds: tuple[type, ...] = (random.Random,)
    if numpy := sys.modules.get("numpy"):
        found.append(numpy.random.mtrand._rand)
        kinds += (numpy.random.Generator, numpy.random.RandomState)
    return _each(found + _held(modules, kinds))


def every(modules: Iterable[nn.Module]) -> list[Any]:
    """Return the generators of Python, NumPy and torch that modules may draw from, found as by `of`."""
    modules = list(modules)
    return _each([*of(modules), torch.default_generator, *_held(modules, (torch.Generator,))])


def _held(modules: Iterable[nn.Module], kinds: tuple[type, ...]) -> list[Any]:
    """Return what modules, their submodules and the files that define them hold of these kinds, as far as it has a state."""
    inner = [module for outer in modules for module in outer.modules()]
    places = [place for module in inner for place in (module, sys.modules.get(type(module).__module__)) if place]
    held = (value for place in places for value in vars(place).values() if isinstance(value, kinds))
    return [one for one in held if not isinstance(one, random.SystemRandom)]


def _each(generators: list[Any]) -> list[Any]:
    """Return each generator once."""
    return list({id(generator): generator for generator in generators}.values())


def named(generator: Any) -> str:
    """Return what a person calls a generator."""
    if isinstance(generator, torch.Generator):
        return "torch's random"
    return "Python's random" if isinstance(generator, random.Random) else "NumPy's random"


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.bit_generator.state if hasattr(generator, "bit_generator") else generator.get_state(legacy=False)


def _comparable(state: Any) -> Any:
    """Return a state as values that `==` compares: arrays of NumPy as bytes."""
    if isinstance(state, Mapping):
        return {name: _comparable(value) for name, value in state.items()}
    if isinstance(state, tuple):
        return tuple(_comparable(value) for value in state)
    return state.tobytes() if hasattr(state, "tobytes") else state


def _restore(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif hasattr(generator, "bit_generator"):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def _seed(generator: Any, seed: int) -> None:
    if isinstance(generator, random.Random):
        generator.seed(seed)
    elif hasattr(generator, "bit_generator"):
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
    else:
        generator.seed([seed >> 32, seed & 0xFFFFFFFF])


@contextmanager
def seeded(generators: list[Any], key: int) -> Iterator[None]:
    """Start generators from a key, each differently, and restore them afterwards."""
    before = [_state(generator) for generator in generators]
    try:
        for i, generator in enumerate(generators):
            _seed(generator, (key + i) % (1 << 64))
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            _restore(generator, state)


@contextmanager
def watched(generators: list[Any]) -> Iterator[list[Any]]:
    """Yield a list that afterwards holds the generators that something drew from."""
    before = [_comparable(_state(generator)) for generator in generators]
    moved: list[Any] = []
    yield moved
    moved += [one for one, state in zip(generators, before, strict=True) if _comparable(_state(one)) != state]


@torch.no_grad()
def drawing(function: Callable[[Tensor], Tensor], modules: Iterable[nn.Module], x: Tensor) -> tuple[str, Tensor]:
    """Return from which generator a function draws random numbers in each pass, or "", and what it makes of `x` (n, ...).

    modules     those that it runs
    One that moves on makes passes random, however seldom what they return shows it; one that the function seeds in each pass
    does not move on. Another thread may draw too, but not in every pass.
    """
    moved = every(modules)
    for _ in range(3):
        with watched(moved) as now:
            y = function(x.clone())  # the function may write into its argument
        if not (moved := now):
            break
    return named(moved[0]) if moved else "", y
