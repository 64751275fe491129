"""Units that were given up: out of the way of the others, with their tracebacks, until somebody asks for them again.

parked/<unit>.json      {format, release, unit, attempts: [{worker, host, when, error}]}

A unit that is committed is done, whatever is said of it here: a rival may have managed it.
"""

import json
import time
from dataclasses import asdict

from pipeline.errors import StorageError
from pipeline.execution.queue import Failed
from pipeline.store import formats
from pipeline.store.layout import Store

SHARDS = 3
"""That can not be used one after the other, with none read in between, until it is taken to be the place where all are."""

_FOLDER = "parked"


class Lot:
    """Where a run parks units; those whose shard can not be used once it is known that others can.

    So one bad shard costs its own units, and a service that is gone, which would fail all, parks none.
    """

    def __init__(self, store: Store, shards: int) -> None:
        self._store, self._enough = store, min(SHARDS, shards)
        self._held: list[tuple[float, Failed]] = []  # with the time

    def add(self, failed: Failed) -> None:
        """Takes in a unit that was given up. Raises StorageError once it looks as if no shard can be used."""
        if not failed.shard:
            park(self._store, failed)
            return
        self._held.append((time.monotonic(), failed))
        if len({held.unit.shard for _, held in self._held}) >= self._enough:
            raise StorageError(failed.shard)

    def settle(self, seconds: float = 0.0) -> None:
        """Parks what was held back before a unit was begun, so many seconds ago, whose shard could be read; all at the end."""
        began = time.monotonic() - seconds
        for at, failed in self._held:
            if at < began:
                park(self._store, failed)
        self._held = [(at, failed) for at, failed in self._held if at >= began]


def park(store: Store, failed: Failed) -> None:
    """Takes a unit out of this run and of those to come."""
    content = {"unit": failed.unit.name, "attempts": [asdict(attempt) for attempt in failed.attempts]}
    store.replace(f"{_FOLDER}/{failed.unit.name}.json", formats.stamped(json.dumps(content).encode()))


def parked(store: Store) -> set[str]:
    """The names of the units that were given up."""
    return {entry.name[len(_FOLDER) + 1 : -len(".json")] for entry in store.list(f"{_FOLDER}/*.json")}


def retry(store: Store) -> int:
    """Puts all parked units back among those to do, and says how many there were."""
    names = parked(store)
    for name in names:
        store.remove(f"{_FOLDER}/{name}.json")
    return len(names)
