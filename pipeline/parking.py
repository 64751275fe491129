"""Units that were given up: out of the way of the others, with their tracebacks, until somebody asks for them again.

parked/<unit>.json      {unit, attempts: [{worker, host, when, error}]}

A unit that is committed is done, whatever is said of it here: a rival may have managed it.
"""

import json
from dataclasses import asdict

from pipeline.queue import Failed
from pipeline.store import Store

_FOLDER = "parked"


def park(store: Store, failed: Failed) -> None:
    """Takes a unit out of this run and of those to come."""
    content = {"unit": failed.unit.name, "attempts": [asdict(attempt) for attempt in failed.attempts]}
    store.replace(f"{_FOLDER}/{failed.unit.name}.json", json.dumps(content, indent=1).encode())


def parked(store: Store) -> set[str]:
    """The names of the units that were given up."""
    return {entry.name[len(_FOLDER) + 1 : -len(".json")] for entry in store.list(f"{_FOLDER}/*.json")}


def retry(store: Store) -> int:
    """Puts all parked units back among those to do, and says how many there were."""
    names = parked(store)
    for name in names:
        store.remove(f"{_FOLDER}/{name}.json")
    return len(names)
