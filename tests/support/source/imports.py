"""Read what the modules of this repository import, from their source."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]


def modules(package):
    """Return {dotted name: path} of a package's modules."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def nodes(path):
    """Return the nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path):
    """Return the dotted names that a file imports, at its top level or inside a function; `from a import b` gives a.b."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(names):
    return {name.partition(".")[0] for name in names}


def module_of(name, known):
    """Return the module of `known` that a dotted name is, or is in; None for one of another package."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None
