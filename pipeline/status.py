"""What a store says of its campaign: from the files alone, so that it works while a run goes on and after it died."""

import time
from collections import Counter
from dataclasses import dataclass

from pipeline import checkpoint
from pipeline.job import Job
from pipeline.store import Store


@dataclass(frozen=True)
class Running:
    """A unit with a checkpoint: how far it was, and how long ago."""

    unit: str
    step: float
    steps: int
    age: float


@dataclass(frozen=True)
class Status:
    """Units and images by cell, and the units under way."""

    cells: dict[str, tuple[int, int, int, int]]
    """Units done, units planned, images done, images planned."""
    running: list[Running]

    @property
    def complete(self) -> bool:
        return all(done == planned for done, planned, _, _ in self.cells.values())


def status(job: Job) -> Status:
    """The state of a store."""
    store = Store(job.store)
    done = store.done()
    counts: dict[str, Counter[str]] = {cell: Counter() for cell in job.cells}
    for unit in job.expected():
        counts[unit.cell].update(units=1, images=unit.images)
        if unit.name in done:
            counts[unit.cell].update(done=1, images_done=unit.images)
    running = []
    for path in store.list("checkpoints/*.safetensors"):
        try:
            with path.open("rb") as file:  # the tensors are not needed
                found, age = checkpoint.header(file.read(checkpoint.HEADER_BYTES)), time.time() - path.stat().st_mtime
        except FileNotFoundError:  # committed this moment
            continue
        if found and found.unit not in done:
            running.append(Running(found.unit, found.step, found.steps, age))
    return Status({c: (n["done"], n["units"], n["images_done"], n["images"]) for c, n in counts.items()}, running)
