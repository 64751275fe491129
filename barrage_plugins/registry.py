"""Define the registry: one table of things by name, that packages of others can add to."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, NamedTuple, TypeVar

from barrage_plugins import modules

T = TypeVar("T")

_BUILTIN_ONLY: ContextVar[bool] = ContextVar("builtin_only", default=False)


class PluginError(ValueError):
    """Say that something another package adds cannot be used: its name, who adds it, why, and what to do."""


class UnknownName(PluginError, KeyError):
    """Say that a table has no such name, and which one is nearest."""

    __str__ = ValueError.__str__  # KeyError would show the quotes of its argument


@dataclass(frozen=True)
class Source:
    """Describe who adds a thing to a table: barrage itself, an installed distribution or an allowed module."""

    name: str
    version: str | None = None
    is_module: bool = False

    def __str__(self) -> str:
        return f"module {self.name}" if self.is_module else " ".join(filter(None, (self.name, self.version)))


BARRAGE = Source("barrage itself")


class _Offer(NamedTuple):
    """Hold an entry that a source adds; `load` imports it at its first use."""

    source: Source
    load: Callable[[], Any]


@contextmanager
def builtin_only() -> Iterator[None]:
    """Hide what others add, for pages and schemas that describe the program as it ships."""
    token = _BUILTIN_ONLY.set(True)
    try:
        yield
    finally:
        _BUILTIN_ONLY.reset(token)


class Registry(Mapping[str, T], Generic[T]):
    """Hold the things of one kind by name: the built-ins in their order, then those of others by name.

    what      a thing of this table in words, for messages: "transform"
    table     the table's name: packages add to it by the entry point group `barrage.<table>`, allowed modules by that key of
              their `BARRAGE_PLUGINS`
    builtin   the things of this program
    expected  what a thing must be, in words, and `accepts(name, thing)` whether it is. A thing may carry a `version`, a whole
              number from 1, of its definition

    Listing names imports nothing. `registry[name]` imports what another package adds, and the modules that the user allowed if
    the name is not built in. It raises UnknownName for a name that no source adds, PluginError for one that two sources add or
    whose source cannot be used. So does `values()`; `working()` leaves such names out. The order of others' things does not
    depend on what else is installed.
    """

    def __init__(
        self, what: str, table: str, builtin: Mapping[str, T], expected: str, accepts: Callable[[str, Any], bool]
    ) -> None:
        self.what, self.table, self.builtin = what, table, dict(builtin)
        self._expected, self._accepts = expected, accepts

    def __getitem__(self, name: str) -> T:
        return self.builtin[name] if self._source(name) is BARRAGE else self._loaded(name)

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._others(imports=True)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.builtin, *sorted(self._others().keys() - self.builtin.keys())])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def source(self, name: str) -> Source:
        """Return who adds a name. Raises UnknownName, or PluginError if two sources add it."""
        return self._source(name)

    def version(self, name: str) -> int:
        """Return the version of a thing's definition; 1 if it carries none."""
        return int(getattr(self[name], "version", 1))

    def working(self) -> dict[str, T]:
        """Return everything that can be used, by name, after importing it; warn of each other thing, with the reason."""
        modules.load_allowed()
        found = {}
        for name in self:
            try:
                found[name] = self[name]
            except PluginError as error:
                warnings.warn(str(error), stacklevel=2)
        return found

    def _others(self, imports: bool = False) -> dict[str, list[_Offer]]:
        """Return what others add, by name; `imports`: after importing the modules that the user allowed."""
        found: dict[str, list[_Offer]] = {}
        if _BUILTIN_ONLY.get():
            return found
        if imports:
            modules.load_allowed()
        for point in _installed(self.table):
            distribution = point.dist
            source = Source(distribution.name, distribution.version) if distribution else Source("an unnamed package")
            found.setdefault(point.name, []).append(_Offer(source, point.load))
        for module, things in modules.additions(self.table).items():
            for name in things:
                found.setdefault(name, []).append(_Offer(Source(module, is_module=True), partial(things.__getitem__, name)))
        return found

    def _source(self, name: str) -> Source:
        offers = self._others(imports=name not in self.builtin).get(name, [])
        sources = [BARRAGE] * (name in self.builtin) + [offer.source for offer in offers]
        if len(sources) > 1:
            raise PluginError(
                f"{self.what} {name!r} is defined twice, by {sources[0]} and by {sources[1]}: rename one, or uninstall it"
            )
        if not sources:
            raise UnknownName(f"unknown {self.what} {name!r}{self._nearest(name)}{self._failed_modules()}")
        return sources[0]

    def _loaded(self, name: str) -> T:
        """Return what another package adds. Raises PluginError if it cannot be imported or is no thing of this table."""
        ((source, load),) = self._others()[name]
        try:
            thing = load()
        except Exception as error:  # a package of others may raise anything
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise PluginError(
                f"{self.what} {name!r} of {source} cannot be imported ({reason}): repair {source.name}, or uninstall it"
            ) from error
        version = getattr(thing, "version", 1)
        if not self._accepts(name, thing) or not isinstance(version, int) or version < 1:
            raise PluginError(
                f"{self.what} {name!r} of {source} is {_described(thing)}, expected {self._expected}: correct {source.name}"
            )
        return thing

    def _nearest(self, name: str) -> str:
        near = get_close_matches(name, list(self), 1)
        return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(self))}"

    def _failed_modules(self) -> str:
        return "".join(f"; the allowed module {name} failed: {reason}" for name, reason in modules.failures().items())


def _described(thing: Any) -> str:
    """Return a few words on a thing that is not what it should be."""
    text = repr(thing)
    return text if len(text) <= 80 else f"{text[:77]}..."


@lru_cache
def _installed(table: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a table, of all installed distributions. Imports none of them."""
    return tuple(entry_points(group=f"barrage.{table}"))
