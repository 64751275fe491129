"""Find functions that a file names as `package.module:function`: only in modules that the user allowed."""

import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from barrage_plugins.modules import ALLOW, permits
from barrage_plugins.registry import PluginError

NAMED = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
"""How a function is named: package.module:function."""

ANYTHING = (Exception, SystemExit)
"""What a stranger's module may raise while it is imported; an interrupt of the user goes on."""


def function(name: str, what: str, expected: str) -> Callable[..., Any]:
    """Return the function of this name. Raises PluginError if its module is not allowed or cannot be imported, or lacks it.

    what      it is for, in words: "architecture"
    expected  of it, in words: "that returns a torch module"
    """
    module, _, attribute = name.partition(":")
    if not permits(module):
        raise PluginError(
            f"{what} {name} runs code of {module}, which was not allowed: if you trust it, give --allow-module {module} or set "
            f"{ALLOW}={module}"
        )
    try:
        found = getattr(import_module(module), attribute)
    except ANYTHING as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".removesuffix(": ")
        raise PluginError(
            f"{what} {name}: {reason}; expected package.module:function {expected}, with the module beside the campaign file "
            "or on PYTHONPATH"
        ) from None
    if not callable(found):
        raise PluginError(f"{what} {name} is {type(found).__name__}: expected package.module:function {expected}")
    return found


def source_sha256(name: str) -> str | None:
    """Return the SHA-256 of the file that holds the module of a function, which was imported; None if it has no such file."""
    file = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else None
