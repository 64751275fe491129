"""Complete words of a command line: files and stores near by, cells of the store or campaign that was given, names of tables.

Each function takes the context and the word so far, and returns whole words; a shell calls it at every press of the key, so it
reads only small local files, and imports what is heavy as late as it can. One that fails completes nothing.
"""

import os
import re
from collections.abc import Callable, Iterable
from glob import escape, iglob
from itertools import islice, product
from pathlib import Path
from typing import Any

import typer

from pipeline.config.shipped import names

MOST = 500
"""Files that are looked up at most."""

LARGE = 1 << 20
"""Bytes of a YAML file that is read at most."""

Completer = Callable[[typer.Context, str], list[str]]


def _quiet(complete: Completer) -> Completer:
    """Return a completer that completes nothing where `complete` fails, and only words that begin as they should."""

    def completed(context: typer.Context, incomplete: str) -> list[str]:
        try:
            return sorted({word for word in complete(context, incomplete) if word.startswith(incomplete)})
        except Exception:  # a damaged store, a file that vanishes: a traceback would spoil the line that is being typed
            return []

    return completed


@_quiet
def campaigns(context: typer.Context, incomplete: str) -> list[str]:
    """Return campaign files at most one folder away, and those that come with barrage."""
    return [*_files(incomplete, r"^cells:"), *names("*.yaml", r"^cells:")]


@_quiet
def trainings(context: typer.Context, incomplete: str) -> list[str]:
    """Return training files at most one folder away, and those that come with barrage."""
    return [*_files(incomplete, r"^kind: *(classifier|bpda)"), *names("**/*.yaml", r"^kind: *(classifier|bpda)")]


@_quiet
def stores(context: typer.Context, incomplete: str) -> list[str]:
    """Return stores at most two folders away."""
    found = (os.path.dirname(path) for path in _near(incomplete, "*/campaign.yaml", "*/*/campaign.yaml"))
    return [folder for folder in found if os.path.isdir(os.path.join(folder, "units"))]


@_quiet
def cells(context: typer.Context, incomplete: str) -> list[str]:
    """Return the cells of what the command works on, its first argument: stores or a campaign file."""
    first = next(name for name in ("campaign", "store", "sides") if name in context.params)
    given = context.params[first] or context.args[0]  # the parser stops at an option whose value is being typed
    places = [Path(place) for place in (given if isinstance(given, list | tuple) else [given])]
    if first != "campaign":
        return [cell for place in places for cell in _yaml(place / "campaign.yaml")["identity"]]
    (place,) = places
    return [f"{m}-{d}-{a}" for grid in _yaml(place)["cells"] for m, d, a in product(*map(_listed, _parts(grid)))]


@_quiet
def rules(context: typer.Context, incomplete: str) -> list[str]:
    """Return the decision rules."""
    from pipeline.scoring.rules import RULES

    return list(RULES)


@_quiet
def trackers(context: typer.Context, incomplete: str) -> list[str]:
    """Return the trackers."""
    from pipeline.tracking.table import TRACKERS

    return list(TRACKERS)


def _near(incomplete: str, *patterns: str) -> Iterable[str]:
    """Return the paths that begin with a word and go on as the patterns say."""
    return islice((path for pattern in patterns for path in iglob(f"{escape(incomplete)}{pattern}")), MOST)


def _files(incomplete: str, sign: str) -> Iterable[str]:
    """Return the YAML files near by with a line that begins with the pattern `sign`."""
    found = [path for path in _near(incomplete, "*.yaml", "*/*.yaml", "*.yml") if os.path.getsize(path) <= LARGE]
    return [path for path in found if re.search(sign, Path(path).read_text(errors="replace"), re.M)]


def _yaml(path: Path) -> Any:
    from pipeline.config.shipped import shipped
    from pipeline.config.yaml_loader import plain

    return plain(shipped(path).read_text())


def _parts(grid: dict[str, Any]) -> Iterable[Any]:
    return (grid[part] for part in ("model", "defense", "attack"))


def _listed(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]
