"""Find functions of the user by name, as package.module:function.

A campaign file may come from a stranger, and then so does the function that it names. So a function runs only if the user
allowed its module by --allow-module or the environment. A campaign file cannot allow it.
"""

import importlib
from typing import Any

from torch import nn

from barrage_plugins import ALLOW, permits, unchanged
from pipeline.errors import BadInput, one_line


def function_of(place: str, what: str, expected: str = "that returns a torch module") -> Any:
    """Return the function that `package.module:function` names. Raises BadInput if it may not run or does not exist.

    what      names the key of the file in messages
    expected  of the function, in words
    """
    module, _, function = place.partition(":")
    if not permits(module):
        raise BadInput(
            f"{what} {place} runs code of {module}, which was not allowed: if you trust it, give --allow-module "
            f"{module} or set {ALLOW}={module}"
        )
    try:
        with unchanged():
            found = getattr(importlib.import_module(module), function)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's module may raise anything
        raise BadInput(
            f"{what} {place}: {one_line(error)}; expected package.module:function {expected}, with the module beside the "
            "campaign file or on PYTHONPATH"
        ) from None
    if not callable(found):
        raise BadInput(f"{what} {place} is {type(found).__name__}: expected package.module:function {expected}")
    return found


def module_of(place: str, what: str) -> nn.Module:
    """Return the torch module that a function without arguments returns. Raises BadInput."""
    function = function_of(place, what)
    try:
        with unchanged():
            made = function()
    except (BadInput, KeyboardInterrupt):
        raise
    except BaseException as error:  # a stranger's function may raise anything
        raise BadInput(
            f"{what} {place} raised {one_line(error)}: expected a function without arguments that returns a torch "
            "module; try it in Python"
        ) from None
    if not isinstance(made, nn.Module):
        raise BadInput(f"{what} {place} returned {type(made).__name__}, expected a torch module")
    return made
