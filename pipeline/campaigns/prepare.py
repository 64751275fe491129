"""Check a campaign against its data, models and store before any work starts, and fill in what it leaves open."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from barrage_plugins import allowed
from pipeline.campaigns import definition_versions
from pipeline.campaigns.compare import refuse_changes
from pipeline.campaigns.job import Job, opened
from pipeline.config.campaign import Campaign
from pipeline.data import shards
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.models import bpda_networks, loading
from pipeline.parallel import map_ordered
from pipeline.storage import urls
from pipeline.store import committed
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE


def resolve(campaign: Campaign) -> Campaign:
    """Return the campaign with the hashes of its weights and networks, and its models' preprocessing, filled in.

    Raises BadInput if any of them is missing, or has another hash than the campaign says.
    """
    models = {name: loading.described(loading.checked(m), campaign.data) for name, m in campaign.models.items()}
    attacks = {name: bpda_networks.checked(a) for name, a in campaign.attacks.items()}
    return campaign.model_copy(update={"models": models, "attacks": attacks})


def prepare(campaign: Campaign, url: str, report: Callable[[str], None] = lambda line: None) -> Job:
    """Return the job of a campaign on a store, new or half done. Writes nothing. Raises BadInput, StorageError.

    `report` shows one line to a person; default: nothing is shown.
    """
    campaign = resolve(campaign)
    store = Store(url, urls.ANSWER_SECONDS)
    store.ready()
    earlier = opened(url) if store.read(FILE) is not None else None
    committed.units(store)  # refuses rows that are not of this store's campaign
    present = _shards(campaign, url, earlier.shards if earlier else {}, report)
    check_labels(campaign, present.values())
    _check_models(campaign)
    job = Job(campaign, present, url, earlier.cuts if earlier else {}, allowed())
    if earlier:
        definition_versions.check(earlier.campaign, campaign, url)
        refuse_changes(earlier, job, url)
    return job if campaign.unit_images is None else job.with_cuts({})


def _shards(campaign: Campaign, url: str, known: dict[str, Shard], report: Callable[[str], None]) -> dict[str, Shard]:
    """Return the campaign's shards by name, in its order; only those that the store does not know yet are read."""
    paths = shards.paths(campaign.data)
    new = [path for path in paths if shards.name(path) not in known]
    if new:
        report(f"reading {len(new)} shards for the first time")
    known = known | dict(zip(map(shards.name, new), map_ordered(shards.inspect, new), strict=True))
    present: dict[str, Shard] = {}
    for path, size in paths.items():
        shard = known[shards.name(path)]
        if size != shard.bytes:
            raise BadInput(f"shard {path} has {size} bytes, the store {url} saw {shard.bytes}: restore it")
        present[shard.name] = replace(shard, url=path)
    for name in known.keys() - present.keys():
        raise BadInput(f"store {url} holds rows of shard {name}, which the campaign lacks: add it, or use another store")
    return present


def check_labels(campaign: Campaign, present: Iterable[Shard]) -> None:
    """Raise BadInput if a shard holds a label that a model has no class for."""
    for shard in present:
        for name, model in campaign.models.items():
            if shard.labels[1] >= model.classes:
                raise BadInput(
                    f"shard {shard.url} holds the label {shard.labels[1]}, model {name} has the classes 0 to "
                    f"{model.classes - 1}: use data with the model's labels"
                )


def _check_models(campaign: Campaign) -> None:
    """Raise BadInput if a model can't be loaded, can't be attacked as its cells say, or a cell's networks don't fit."""
    for name, model in campaign.models.items():
        classifier = loading.classifier(model, model.crop or campaign.data.crop, torch.device("cpu"))
        loading.attackable(classifier, [cell for cell in campaign.grid() if cell.model_name == name])
    for cell in campaign.grid():
        bpda_networks.fit(cell)
