"""Check a training of BPDA networks against its data and store before any work starts."""

from dataclasses import dataclass

from bart import TRANSFORMS
from pipeline.config.bpda_training import BpdaTraining
from pipeline.data.shards import Shard
from pipeline.data.training_images import counts
from pipeline.errors import BadInput
from pipeline.models import bpda_networks
from pipeline.storage import urls
from pipeline.store.layout import Store
from pipeline.training import record
from pipeline.training.job import TrainingJob
from pipeline.training.record import Report
from pipeline.training.unit import TrainingUnit


@dataclass(frozen=True)
class BpdaJob(TrainingJob):
    """Hold what workers need to know; it is sent to each of them once. The store is the folder of the networks."""

    training: BpdaTraining
    shards: tuple[Shard, ...]
    store: str

    @property
    def identity(self) -> str:
        """Return a hash of what decides the weights of every network, but for the definition of its transform."""
        deciding = ("seed", "steps", "batch", "learning_rate", "held_out")
        size = (self.training.data.resize, self.training.data.crop)
        return record.hashed([{name: getattr(self.training, name) for name in deciding}, size, self.data])

    def identity_of(self, transform: str) -> str:
        """Return a hash of what decides the weights of the network of a transform."""
        version = TRANSFORMS.version(transform)
        return self.identity if version == 1 else record.hashed([self.identity, version])

    def todo(self) -> list[TrainingUnit]:
        """Return the transforms whose networks are missing."""
        done = bpda_networks.entries(self.store)
        return [TrainingUnit(name) for name in self.training.transforms if name not in done]

    def write_down(self) -> None:
        """Write the training into its store."""
        record.write(self.store, self.training, self.identity, self.shards)


def prepare(training: BpdaTraining, url: str, report: Report = lambda line: None) -> BpdaJob:
    """Return the job of a training on a store, new or half done. Writes nothing. Raises BadInput, StorageError.

    `report` shows one line to a person; default: nothing is shown.
    """
    Store(url, urls.ANSWER_SECONDS).ready()
    shards = record.inspected(training.data, url, report)
    record.check_images(sum(counts(shards, training.data.limit)), training.held_out, training.batch)
    job = BpdaJob(training, tuple(shards), url)
    for name, (entry, _) in bpda_networks.entries(url).items():
        if entry.training != job.identity:
            raise BadInput(
                f"store {url} holds a network of {name} from another training ({entry.training}, this is {job.identity}): "
                "use another --store"
            )
        if entry.version != (now := TRANSFORMS.version(name)):
            raise BadInput(
                f"store {url} holds a network of version {entry.version} of {name}, this is version {now}: use another --store"
            )
    return job
