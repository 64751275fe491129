"""Start Python's and NumPy's generators from keys while a module runs, and put them back afterwards."""

import pickle
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def of(modules: Iterable[nn.Module]) -> list[Any]:
    """Return the generators that modules may draw from: the global ones of Python and NumPy, and those that are attributes of
    the modules, of their submodules or of the files that define them.
    """
    found: list[Any] = [random._inst]  # what random.random() and the others draw from
    kinds: tuple[type, ...] = (random.Random,)
    if numpy := sys.modules.get("numpy"):
        found.append(numpy.random.mtrand._rand)
        kinds += (numpy.random.Generator, numpy.random.RandomState)
    inner = [module for outer in modules for module in outer.modules()]
    places = [place for module in inner for place in (module, sys.modules.get(type(module).__module__)) if place]
    held = [value for place in places for value in vars(place).values() if isinstance(value, kinds)]
    return list({id(generator): generator for generator in found + held}.values())


def named(generator: Any) -> str:
    """Return what a person calls a generator."""
    return "Python's random" if isinstance(generator, random.Random) else "NumPy's random"


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.bit_generator.state if hasattr(generator, "bit_generator") else generator.get_state(legacy=False)


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
    before = [pickle.dumps(_state(generator)) for generator in generators]
    moved: list[Any] = []
    yield moved
    moved += [one for one, state in zip(generators, before, strict=True) if pickle.dumps(_state(one)) != state]
