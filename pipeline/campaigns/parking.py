"""Park units that were given up: they don't hold up the others, and their errors are kept until a person retries them.

parked/<unit>.json      {format, release, unit, attempts: [{worker, host, when, error}]}

A unit whose rows are committed is done, even if it is parked: another worker may have done it.
"""

import time
from dataclasses import asdict

from pipeline.errors import StorageError
from pipeline.execution.queue import Failed
from pipeline.planning.units import Unit
from pipeline.store import formats
from pipeline.store.layout import Store

SHARDS = 3
"""Different shards that can't be used, with none read in between, until the storage itself counts as unreachable."""

_FOLDER = "parked"


class ParkingLot:
    """Park the units of a run. A unit whose shard can't be used waits until another shard was read since.

    So one bad shard parks only its own units, and a storage service that is down, which would fail all units, parks none.
    """

    def __init__(self, store: Store, shards: int) -> None:
        self._store, self._enough = store, min(SHARDS, shards)
        self._held: list[tuple[float, Failed[Unit]]] = []  # with the time

    def add(self, failed: Failed[Unit]) -> None:
        """Take a unit that was given up. Raises StorageError if it seems that no shard can be used."""
        if not failed.shard:
            park(self._store, failed)
            return
        self._held.append((time.monotonic(), failed))
        if len({held.unit.shard for _, held in self._held}) >= self._enough:
            raise StorageError(failed.shard)

    def settle(self, seconds: float = 0.0) -> None:
        """Park what waits and failed more than `seconds` ago: a unit that was begun then could read its shard."""
        began = time.monotonic() - seconds
        for at, failed in self._held:
            if at < began:
                park(self._store, failed)
        self._held = [(at, failed) for at, failed in self._held if at >= began]


def park(store: Store, failed: Failed[Unit]) -> None:
    """Write down a unit with its errors, so that no later run tries it."""
    content = {"unit": failed.unit.name, "attempts": [asdict(attempt) for attempt in failed.attempts]}
    store.replace(f"{_FOLDER}/{failed.unit.name}.json", formats.to_json(content))


def parked(store: Store) -> set[str]:
    """Return the names of the units that are parked."""
    return {entry.name[len(_FOLDER) + 1 : -len(".json")] for entry in store.list(f"{_FOLDER}/*.json")}


def reason(store: Store, unit: str) -> str:
    """Return the last line of a parked unit's last error; in words where its file is gone or damaged."""
    data = store.read(f"{_FOLDER}/{unit}.json")
    if data is None:
        return "another run put it back among those to do"
    try:
        return str(formats.of_json(f"{_FOLDER}/{unit}.json", data)["attempts"][-1]["error"]).strip().splitlines()[-1]
    except (ValueError, KeyError, IndexError, TypeError):
        return "the file with its reason is damaged"


def retry(store: Store) -> int:
    """Put all parked units back among those to do, and return how many there were."""
    names = parked(store)
    for name in names:
        store.remove(f"{_FOLDER}/{name}.json")
    return len(names)
