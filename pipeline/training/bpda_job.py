"""The training of BPDA networks meets its store: everything checked before work starts."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from pipeline.config.bpda_training import Training
from pipeline.config.campaign import Data
from pipeline.config.fields import Share
from pipeline.config.yaml_loader import plain
from pipeline.data import shards
from pipeline.data.shards import Shard
from pipeline.data.training_images import counts
from pipeline.errors import BadInput
from pipeline.models import bpda_networks
from pipeline.storage import urls
from pipeline.store.layout import Store

FILE = "training.yaml"


@dataclass(frozen=True)
class TrainingJob:
    """What a worker needs to know, sent once. The store is the folder of the networks."""

    training: Training
    shards: tuple[Shard, ...]
    store: str

    @property
    def name(self) -> str:
        return self.training.name

    @property
    def workers(self) -> Share:
        return self.training.workers

    @property
    def data(self) -> str:
        """Hash of the images: of the shards, and of which of them take part."""
        found = [shard.sha256 for shard in self.shards]
        return hashed([found, self.training.data.limit])

    @property
    def identity(self) -> str:
        """Hash of what decides the weights of every network."""
        deciding = ("seed", "steps", "batch", "learning_rate", "held_out")
        size = (self.training.data.resize, self.training.data.crop)
        return hashed([{name: getattr(self.training, name) for name in deciding}, size, self.data])

    def todo(self) -> list[str]:
        """The transforms whose networks are not there."""
        done = bpda_networks.entries(self.store)
        return [name for name in self.training.transforms if name not in done]

    def write_down(self) -> None:
        """Puts the training as it was resolved into the store."""
        found = {
            "training": self.training.model_dump(mode="json", exclude={"store", "workers"}),
            "identity": self.identity,
            "shards": [asdict(shard) | {"labels": list(shard.labels)} for shard in self.shards],
        }
        store = Store(self.store)
        store.sweep()
        store.replace(FILE, yaml.safe_dump(found, sort_keys=False).encode())


def hashed(values: Any) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def prepare(training: Training, url: str, report: Callable[[str], None] = lambda line: None) -> TrainingJob:
    """The job of a training on a store, new or half done. Leaves nothing behind. Raises BadInput, StorageError."""
    Store(url, urls.ANSWER_SECONDS).ready()
    found = inspected(training.data, url, report)
    images, wanted = sum(counts(found, training.data.limit)), training.held_out + training.batch
    if images < wanted:
        raise BadInput(
            f"data hold {images} images, expected at least {wanted}, held_out and one batch: add shards, or lower held_out"
        )
    job = TrainingJob(training, tuple(found), url)
    for name, (entry, _) in bpda_networks.entries(url).items():
        if entry.training != job.identity:
            raise BadInput(
                f"store {url} holds a network of {name} from another training ({entry.training}, this is {job.identity}): "
                "use another --store"
            )
    return job


def inspected(data: Data, url: str, report: Callable[[str], None]) -> list[Shard]:
    """The shards of a training; those that an earlier run on its store looked at are not read again. Raises BadInput,
    StorageError."""
    known, found = _seen(url), []
    for path, size in shards.paths(data).items():
        shard = known.get(path)
        if shard is None or shard.bytes != size:
            report(f"reading {path} for the first time")
            shard = shards.inspect(path)
        found.append(shard)
    return found


def _seen(url: str) -> dict[str, Shard]:
    """The shards that an earlier run on this store looked at, by path."""
    data = Store(url).read(FILE)
    found = [Shard(**(s | {"labels": tuple(s["labels"])})) for s in plain(data)["shards"]] if data else []
    return {shard.url: shard for shard in found}
