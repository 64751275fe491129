"""Let packages of others add to the tables of barrage, without a change of its code.

A table is a `Registry`: the built-ins, then what installed packages name as entry points, then what modules hold that the user
allowed. Only Python's own library is imported here, so that a command that just reads a store starts at once.
"""

from barrage_plugins.modules import ALLOW, PLUGINS, allow, allowed, folders, load_allowed, permits, unchanged
from barrage_plugins.registry import PluginError, Registry, Source, UnknownName, builtin_only

__all__ = [
    "ALLOW",
    "PLUGINS",
    "PluginError",
    "Registry",
    "Source",
    "UnknownName",
    "allow",
    "allowed",
    "builtin_only",
    "folders",
    "load_allowed",
    "permits",
    "unchanged",
]
