"""Load YAML safely from untrusted files: plain values only, and no more of them than the file spells out."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

ALWAYS_ALLOWED = 10_000
"""Number of values to which aliases may expand any document."""

MOST_LEVELS = 50
"""Deepest nesting of lists and mappings."""

_MERGE = "tag:yaml.org,2002:merge"
"""The tag of `<<`, by which a mapping takes in others: it may stand several times."""

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"

_NUMBERS: dict[str, Callable[[str], object]] = {
    _INT: re.compile(r"[-+]?(0|[1-9][0-9]*)(:[0-9]+)*").fullmatch,
    _FLOAT: re.compile(r"[^_]*").fullmatch,
}
"""The notations of numbers that are read, by the tag that YAML gives them; 24:00:00 is a time, in seconds."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def plain(text: str | bytes) -> Any:
    """Return the mappings, lists, strings and numbers of a YAML document; tags never make objects.

    Raises yaml.YAMLError, also for a key that a mapping has twice, for deep nesting, and for aliases that expand a small file
    to a huge one. (Without aliases each value takes at least one byte, so a document has no more values than bytes.)
    """
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):  # checked before the loader recurses
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise yaml.YAMLError(f"it nests more than {MOST_LEVELS} lists and mappings: write it flatter")
    loader = _LOADER(text)
    node = loader.get_single_node()
    if node is None:
        return None
    if _values(node, {}) > max(ALWAYS_ALLOWED, len(text)):
        raise yaml.YAMLError(f"its aliases (*name) expand {len(text)} bytes to more values than that: write the values out")
    _refuse_twice(node)
    _refuse_odd_numbers(node)
    try:
        return loader.construct_document(node)
    except (ValueError, TypeError, RecursionError) as error:  # an impossible date, number or key
        raise yaml.YAMLError(str(error)) from None


def _refuse_twice(root: yaml.Node) -> None:
    """Raise yaml.YAMLError if a mapping has one key twice: of two values, the first would be lost without a word."""
    for node in _nodes(root):
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in lines:
                    raise yaml.YAMLError(
                        f"the key {key.value!r} stands in lines {lines[name]} and {line}: take one of them out"
                    )
                lines[name] = line


def _refuse_odd_numbers(root: yaml.Node) -> None:
    """Raise yaml.YAMLError for a number that YAML reads as another than most people do, or that no column of rows can hold.

    To YAML 1.1, 010 is 8, 1_0 is 10 and 0x20 is 32.
    """
    for node in _nodes(root):
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _NUMBERS:
            continue
        where = f"{node.value} in line {node.start_mark.line + 1}"
        if not _NUMBERS[node.tag](node.value):
            raise yaml.YAMLError(f"{where} is a number of another notation: write it in digits, or in quotes if it is a text")
        if node.tag == _INT and abs(int(node.value.split(":")[0])) >= 1 << 63:
            raise yaml.YAMLError(f"{where} is too large: expected a number of at most 18 digits")


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield a node and all inside it, keys too, each once."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        for item in node.value if isinstance(node, yaml.CollectionNode) else ():
            waiting += item if isinstance(item, tuple) else (item,)


def _values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Return the number of values of a node with its aliases expanded; `known` remembers nodes that were counted."""
    if node not in known:
        known[node] = 1 << 62  # a node met again before it is counted contains itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = (part for item in parts for part in (item if isinstance(item, tuple) else (item,)))
        known[node] = 1 + sum(_values(part, known) for part in inner)
    return known[node]
