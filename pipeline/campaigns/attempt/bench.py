"""Hold on a device what all units of a job need: classifiers, networks, and how many draws fit."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from barrage_plugins import allow
from bart import BpdaNet, Classifier, Defended, dispatch
from pipeline.campaigns.attempt.clean_pass import CleanPass
from pipeline.campaigns.job import Job
from pipeline.config.attacks import ByGradient, Examples
from pipeline.config.campaign import Cell
from pipeline.data import examples
from pipeline.data.shards import Sample
from pipeline.errors import BadInput
from pipeline.models import bpda_networks, loading
from pipeline.planning import stack_sizes as stacks

T = TypeVar("T")


@dataclass
class Bench:
    """Hold a device, with the job's classifiers on it."""

    job: Job
    device: torch.device
    drain: threading.Event

    def __post_init__(self) -> None:
        """Allow the job's modules; nothing is loaded yet."""
        allow(self.job.modules, self.job.folders)
        self._classifiers: dict[tuple[str, bool], Classifier] = {}
        self._networks: dict[str, dict[str, BpdaNet]] = {}
        self._examples: dict[str, examples.Source] = {}
        self._stacks: dict[str, int] = {}
        self.clean: dict[str, CleanPass] = {}
        """What the clean images of each cell looked like so far."""

    def defended(self, cell: Cell) -> Defended:
        """Return the cell's classifier behind its defense, with the networks of its attack. Each file is loaded once."""
        wanted = cell.model_name, not cell.defense.inside
        if wanted not in self._classifiers:
            self._classifiers[wanted] = loading.classifier(cell.model, cell.crop, self.device, wanted[1])
        return cell.defense.defended(self._classifiers[wanted], self._imitations(cell))

    def _imitations(self, cell: Cell) -> dict[str, BpdaNet]:
        """Return the BPDA networks of the cell's attack, by transform; empty if it has none."""
        attack = cell.attack
        if not isinstance(attack, ByGradient) or attack.networks is None or attack.networks_sha256 is None:
            return {}
        if attack.networks_sha256 not in self._networks:
            self._networks[attack.networks_sha256] = bpda_networks.load(attack.networks, attack.networks_sha256, self.device)
        return self._networks[attack.networks_sha256]

    def given(self, cell: Cell, shard: str, samples: Mapping[int, Sample]) -> dict[str, Tensor | str] | None:
        """Return the finished examples of images of a shard, {place: sample}, by key; a text says why one cannot be used.

        None if the cell makes its examples itself. Raises BadInput if they changed.
        """
        attack = cell.attack
        if not isinstance(attack, Examples) or attack.sha256 is None:
            return None
        if attack.sha256 not in self._examples:
            self._examples[attack.sha256] = examples.opened(attack.path)
        source = self._examples[attack.sha256]
        if source.sha256 != attack.sha256:
            raise BadInput(f"examples {attack.path} have changed: their hash is not {attack.sha256} any more: restore them")
        return examples.given(attack, source, shard, self.job.images, samples, cell.crop)

    def stack(self, cell: Cell) -> int:
        """Return how many draws of a cell go through the device at once: as the campaign says, else as many as fit."""
        if cell.name not in self._stacks:
            asked, gpus = self.job.campaign.workers.stack, self.job.campaign.workers.gpus
            self._stacks[cell.name] = asked or stacks.best(self.defended(cell), cell.crop, self.device, min(1.0, gpus or 1.0))
        return self._stacks[cell.name]

    def fitting(self, cell: Cell, work: Callable[[int], T]) -> T:
        """Return `work(stack)`; after running out of memory, try half the stack. `work` must give the same for any stack."""
        while True:
            stack = self.stack(cell)
            try:
                return work(stack)
            except Exception as error:
                if stack == 1 or not stacks.out_of_memory(error):
                    raise
            self._stacks[cell.name] = stack // 2
            dispatch.release()  # only now: until the error is forgotten, it holds what did not fit
