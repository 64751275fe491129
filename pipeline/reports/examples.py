"""Read images of a store as pictures: clean, from their shards; attacked, from the store; and the difference of the two."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.campaigns.attempt import image_rows
from pipeline.campaigns.job import Job
from pipeline.data import guarded, shards
from pipeline.errors import BadInput, ShardUnusable
from pipeline.planning.units import Unit, of_name
from pipeline.store.layout import Store

Picture = np.ndarray[Any, Any]
"""An image, (3, h, w) uint8."""


@dataclass(frozen=True)
class Example:
    """Hold one image of a cell; `adversarial` is None where the campaign keeps no examples."""

    key: str
    clean: Picture
    adversarial: Picture | None

    @cached_property
    def magnified(self) -> float:
        """Return how many grey levels of `difference` stand for one grey level of change."""
        assert self.adversarial is not None, "no example, no difference"
        return 127 / max(1, int(np.abs(self.adversarial.astype(int) - self.clean).max()))

    @cached_property
    def difference(self) -> Picture:
        """Return the change as a picture: no change is mid-grey, the largest change of a channel is black or white."""
        assert self.adversarial is not None, "no example, no difference"
        change = (self.adversarial.astype(float) - self.clean) * self.magnified
        return (128 + change).round().clip(0, 255).astype(np.uint8)


def unit(job: Job, name: str) -> Unit:
    """Return the unit of a name that a row holds. Raises BadInput if the campaign has no such unit."""
    if found := of_name(name, job.cells, job.shards):
        return found
    raise BadInput(f"unit {name} is none of store {job.store}: give a store whose campaign.yaml is that of its rows")


def examples(job: Job, unit: Unit, keys: list[str]) -> list[Example]:
    """Return the images of a unit that have these keys.

    Raises BadInput if the unit's shard can not be read, or is not the one that was attacked.
    """
    cell = job.cells[unit.cell]
    try:
        samples = {sample.key: sample for sample in shards.read(job.shards[unit.shard], job.places(unit))}
    except ShardUnusable as error:
        raise BadInput(f"{error}; without it there are no clean images") from None
    for key in keys:
        if key not in samples:
            raise BadInput(f"unit {unit.name} holds the image {key}, which is not planned: another version wrote the store")
    tar = Store(job.store).read(Store(job.store).adversarial(unit))
    stored = image_rows.pictures(tar) if tar else {}
    clean = {key: guarded.decode(samples[key].image, cell.resize, cell.crop, cell.framing, cell.exif) for key in keys}
    return [Example(key, clean[key], stored.get(key)) for key in keys]
