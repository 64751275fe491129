"""Name for trackers what a store holds: its settings by dotted names, and the id under which all its runs are tracked."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import provenance
from pipeline.store import formats
from pipeline.store.layout import Store
from pipeline.store.planned_cells import content_of

LONG = 250
"""Characters of a setting at most: every service takes as many."""

FILE = "tracking.json"
"""The file of a store with the id of its tracked runs. It is created once: a resumed run, or a store that moved, goes on."""


def settings(store: Store) -> dict[str, Any]:
    """Return the settings of a store's campaign by dotted names, with the release and the store's place.

    A list of plain values is one text; keys without a value are left out.
    """
    found = dict(_flat("", content_of(store, store.url)["campaign"]))
    return found | {"barrage": provenance.release(), "store": store.url}


def run_id(store: Store, name: str) -> str:
    """Return the id of a store's tracked runs; the first run of a campaign of this `name` makes it."""
    store.create(FILE, formats.to_json({"id": f"{name[:40]}-{uuid.uuid4().hex[:8]}"}))
    return str(formats.of_json(FILE, store.read(FILE) or b"")["id"])


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), part)
    elif isinstance(value, list):
        text = ", ".join(map(str, value))
        yield name, text if len(text) <= LONG else f"{len(value)} values"
    elif value is not None:
        yield name, f"{value[: LONG - 1]}…" if isinstance(value, str) and len(value) > LONG else value
