"""What a test sees of a store."""

from collections import Counter

from pipeline.store.rows import results
from pipeline.store.schema import MEASURED


def decided(store, without=()):
    """What the campaign decides of every row, and how often each is there: {((column, value), ...): times}."""
    drop = {*MEASURED, *without}
    rows = results(str(store)).to_pylist()
    return Counter(tuple(sorted((k, str(v)) for k, v in row.items() if k not in drop)) for row in rows)


def in_order(store):
    """Return all rows as dicts, sorted by cell and image key."""
    return sorted(results(str(store)).to_pylist(), key=lambda row: (row["cell"], row["image_key"]))


def checkpoints(store, but=()):
    """Checkpoints and when they were written, {path: ns}; `but` those already known."""
    found = {}
    for path in (store / "checkpoints").glob("[!.]*"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return {p: t for p, t in found.items() if (p, t) not in dict(but).items()}
