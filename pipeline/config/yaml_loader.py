"""YAML from files that may come from anybody: plain values only, and never more of them than were written."""

from typing import Any

import yaml

LEAST = 10_000
"""Values that any document may grow to by its aliases."""

DEPTH = 50
"""Lists and mappings inside each other."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def plain(text: str | bytes) -> Any:
    """The mappings, lists, strings and numbers of a YAML document; no tag makes an object.

    Raises yaml.YAMLError, also for deep nesting and for aliases that make a small file a huge one: without aliases a value
    takes a byte at least, so more values than bytes were not written by hand.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):  # before the loader recurses
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise yaml.YAMLError(f"it nests more than {DEPTH} lists and mappings: write it flatter")
    loader = _LOADER(text)
    node = loader.get_single_node()
    if node is None:
        return None
    if _values(node, {}) > max(LEAST, len(text)):
        raise yaml.YAMLError(f"its aliases (*name) unfold {len(text)} bytes to more values than that: write them out")
    try:
        return loader.construct_document(node)
    except ValueError as error:  # a date or a number that is none
        raise yaml.YAMLError(str(error)) from None


def _values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Values of a node with its aliases unfolded; each node is counted once and remembered."""
    if node not in known:
        known[node] = 1 << 62  # met again before it is counted, it holds itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = (part for item in parts for part in (item if isinstance(item, tuple) else (item,)))
        known[node] = 1 + sum(_values(part, known) for part in inner)
    return known[node]
