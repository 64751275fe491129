"""Hold the modules that the user allows this process to import. No campaign file and no store can add to them."""

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

ALLOW = "BARRAGE_ALLOW_MODULES"
"""Environment variable: the modules that the user allows, with commas between them."""

PLUGINS = "BARRAGE_PLUGINS"
"""Name of the mapping by which an allowed module adds to tables: {"transforms": {"negative": NEGATIVE}}."""

_allowed: set[str] = set()
_folders: dict[str, None] = {}
_failures: dict[str, str] = {}


def allow(modules: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Allow modules, and the modules inside them, for the rest of this process. Imports nothing yet.

    folders  are searched for modules too, after all others, if any module is allowed
    """
    _allowed.update(modules)
    for folder in folders if allowed() else ():
        _folders[folder] = None
        if folder not in sys.path:
            sys.path.append(folder)


def folders() -> tuple[str, ...]:
    """Return the folders that `allow` added."""
    return tuple(_folders)


def allowed() -> frozenset[str]:
    """Return the modules that the user allowed, by `allow` or by the environment."""
    named = {*_allowed, *os.environ.get(ALLOW, "").split(",")}
    return frozenset(name.strip() for name in named if name.strip())


def permits(module: str) -> bool:
    """Return whether a module, or a package that holds it, was allowed."""
    return any(f"{module}.".startswith(f"{name}.") for name in allowed())


@contextmanager
def unchanged() -> Iterator[None]:
    """Restore what a stranger's code sets for the whole process: filters of warnings, the folder; of PyTorch, if it was
    imported before, the default precision and whether gradients are computed.
    """
    folder, torch = os.getcwd(), sys.modules.get("torch")
    precision, gradients = (torch.get_default_dtype(), torch.is_grad_enabled()) if torch else (None, True)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.chdir(folder)
        if torch:
            torch.set_default_dtype(precision)
            torch.set_grad_enabled(gradients)


def load_allowed() -> None:
    """Import every allowed module. One that fails is remembered (`failures`) and not tried again."""
    for name in sorted(allowed() - sys.modules.keys() - _failures.keys()):
        try:
            with unchanged():
                import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a stranger's module may raise anything
            _failures[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def failures() -> dict[str, str]:
    """Return why allowed modules could not be imported, {module: reason}."""
    return {name: reason for name, reason in _failures.items() if name in allowed()}


def additions(table: str) -> dict[str, dict[str, Any]]:
    """Return what each allowed module that is imported adds to a table, {module: {name: thing}}."""
    found = {}
    for name in sorted(allowed() & sys.modules.keys()):
        tables = getattr(sys.modules[name], PLUGINS, {})
        added = tables.get(table, {}) if isinstance(tables, Mapping) else {}
        if added:
            found[name] = dict(added)
    return found
