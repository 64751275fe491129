"""Load YAML safely from untrusted files: plain values only, and no more of them than the file spells out."""

from typing import Any

import yaml

ALWAYS_ALLOWED = 10_000
"""Number of values to which aliases may expand any document."""

MOST_LEVELS = 50
"""Deepest nesting of lists and mappings."""

_MERGE = "tag:yaml.org,2002:merge"
"""The tag of `<<`, by which a mapping takes in others: it may stand several times."""

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
    try:
        return loader.construct_document(node)
    except (ValueError, TypeError, RecursionError) as error:  # an impossible date, number or key
        raise yaml.YAMLError(str(error)) from None


def _refuse_twice(root: yaml.Node) -> None:
    """Raise yaml.YAMLError if a mapping has one key twice: of two values, the first would be lost without a word."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        lines: dict[tuple[str, str], int] = {}
        for item in node.value:
            key = item[0] if isinstance(item, tuple) else None
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in lines:
                    raise yaml.YAMLError(
                        f"the key {key.value!r} stands in lines {lines[name]} and {line}: take one of them out"
                    )
                lines[name] = line
            waiting += item if isinstance(item, tuple) else (item,)


def _values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Return the number of values of a node with its aliases expanded; `known` remembers nodes that were counted."""
    if node not in known:
        known[node] = 1 << 62  # a node met again before it is counted contains itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = (part for item in parts for part in (item if isinstance(item, tuple) else (item,)))
        known[node] = 1 + sum(_values(part, known) for part in inner)
    return known[node]
