"""Check a campaign against its data, models and store before any work starts, and fill in what it leaves open."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from barrage_plugins import allowed, folders
from pipeline.campaigns import definition_versions
from pipeline.campaigns.attempt import certificates
from pipeline.campaigns.compare import refuse_changes
from pipeline.campaigns.job import Job, opened
from pipeline.config import contents
from pipeline.config.attacks import Attack, Examples, External
from pipeline.config.campaign import Campaign, Cell, Data
from pipeline.config.model import Model
from pipeline.data import examples, guarded, shards
from pipeline.data.pack.classes import given
from pipeline.data.shards import Sample, Shard
from pipeline.errors import BadInput
from pipeline.models import admission, bpda_networks, loading
from pipeline.parallel import map_ordered
from pipeline.planning.units import Unit
from pipeline.storage import urls
from pipeline.store import committed
from pipeline.store.layout import Store
from pipeline.store.planned_cells import FILE

FILE_NAME = 255
"""Bytes of the name of a file, at most, on disks and in buckets alike."""


GLANCE = 4
"""Images on which the gradients of each model are tried."""


def resolve(campaign: Campaign) -> Campaign:
    """Return the campaign with the hashes of its weights, networks and foreign code, and its models' preprocessing, filled in.

    Raises BadInput if any of them is missing, or has another hash than the campaign says.
    """
    models = {name: _model(m, campaign.data) for name, m in campaign.models.items()}
    defenses = {name: defense.checked() for name, defense in campaign.defenses.items()}
    attacks = {name: _checked(attack) for name, attack in campaign.attacks.items()}
    return campaign.model_copy(update={"models": models, "defenses": defenses, "attacks": attacks})


def _model(model: Model, data: Data) -> Model:
    return loading.described(loading.with_contents(loading.checked(model)), data)


def _checked(attack: Attack) -> Any:
    """Return an attack with the hashes of what it needs filled in: networks, examples, or the module of its function."""
    if isinstance(attack, External):
        return attack.checked()
    return examples.checked(bpda_networks.checked(attack))


def prepare(
    campaign: Campaign, url: str, report: Callable[[str], None] = lambda line: None, controls: Collection[str] = ()
) -> Job:
    """Return the job of a campaign on a store, new or half done. Writes nothing. Raises BadInput, StorageError.

    report    shows one line to a person; default: nothing is shown
    controls  names of attacks that may be blind: those that a check compares with another
    """
    campaign = resolve(campaign)
    store = Store(url, urls.ANSWER_SECONDS)
    store.ready()
    earlier = opened(url) if store.read(FILE) is not None else None
    committed.units(store)  # refuses rows that are not of this store's campaign
    campaign = _as_recorded(campaign, earlier.campaign) if earlier else campaign
    present = _shards(campaign, url, earlier.shards if earlier else {}, report)
    check_labels(campaign, present.values())
    campaign, present = _with_classes(campaign, present)
    check_models(campaign, controls, [] if earlier else list(present.values()))
    job = Job(campaign, present, url, earlier.cuts if earlier else {}, allowed(), folders())
    _check_file_names(job)
    for name, cell in job.cells.items():
        if isinstance(cell.attack, Examples) and not (earlier and name in earlier.cells):
            examples.fit(cell.attack, cell.crop, list(present.values()), job.images)
    if earlier:
        definition_versions.check(earlier.campaign, campaign, url)
        refuse_changes(earlier, job, url)
        definition_versions.check_images([present[name] for name in earlier.shards], url, report)
    return job if campaign.unit_images is None else job.with_cuts({})


def _as_recorded(campaign: Campaign, earlier: Campaign) -> Campaign:
    """Return the campaign without the hashes of what functions returned that its store, of release 0.1, does not hold."""
    unknown = {name for name, model in earlier.models.items() if model.contents_sha256 is None}
    models = {
        name: model.model_copy(update={contents.KEY: None}) if name in unknown else model
        for name, model in campaign.models.items()
    }
    return campaign.model_copy(update={"models": models})


def _shards(campaign: Campaign, url: str, known: dict[str, Shard], report: Callable[[str], None]) -> dict[str, Shard]:
    """Return the campaign's shards by name, in its order; only those that the store does not know yet are read."""
    paths = shards.paths(campaign.data, report)
    new = [path for path in paths if shards.name(path) not in known]
    if new:
        report(f"reading {len(new)} shards for the first time")
    inspect = partial(shards.inspect, report=report, classes=given(campaign.data.classes))
    known = known | dict(zip(map(shards.name, new), map_ordered(inspect, new), strict=True))
    present: dict[str, Shard] = {}
    for path, size in paths.items():
        shard = known[shards.name(path)]
        if size != shard.bytes:
            raise BadInput(f"shard {path} has {size} bytes, the store {url} saw {shard.bytes}: restore it")
        present[shard.name] = replace(shard, url=path)
    for name in known.keys() - present.keys():
        raise BadInput(f"store {url} holds rows of shard {name}, which the campaign lacks: add it, or use another store")
    return present


def _with_classes(campaign: Campaign, present: dict[str, Shard]) -> tuple[Campaign, dict[str, Shard]]:
    """Return the campaign and its shards with their classes, as far as they are known: given, or kept with the shards."""
    lines = shards.classes(campaign.data, [shard.url for shard in present.values()])
    known = given(lines)
    campaign = campaign.model_copy(update={"data": campaign.data.model_copy(update={"classes": lines})})
    return campaign, {name: replace(shard, classes=known) for name, shard in present.items()}


def check_labels(campaign: Campaign, present: Iterable[Shard]) -> None:
    """Raise BadInput if a shard holds a label that a model has no class for, or if no shard holds an image to attack."""
    present = list(present)
    if not any(shard.images for shard in present):
        raise BadInput(f"shard {present[0].url} and the others hold no image: write shards with `barrage pack`")
    shards.refuse_hopeless(present)
    for shard in present:
        for name, model in campaign.models.items():
            if shard.labels[1] >= model.classes:
                raise BadInput(
                    f"shard {shard.url} holds the label {shard.labels[1]}, model {name} has the classes 0 to "
                    f"{model.classes - 1}: use data with the model's labels"
                )


def _check_file_names(job: Job) -> None:
    """Raise BadInput if the files of a unit would have names that no disk takes: they hold the names of cell and shard."""
    cell, shard = (max(names, key=lambda name: len(name.encode())) for names in (job.cells, job.shards))
    longest = len(f"{Unit(cell, shard, 0, 0).name}.attempt99.safetensors".encode())
    if longest > FILE_NAME:
        raise BadInput(
            f"files of cell {cell} and shard {shard} would have names of {longest} bytes, more than {FILE_NAME}: shorten one"
        )
    for cell, longer in permutations(job.cells, 2):
        for shard in job.shards if longer.startswith(f"{cell}-") else ():
            other = f"{longer}--{shard}".removeprefix(f"{cell}--")
            if other in job.shards:
                raise BadInput(
                    f"cell {longer} with shard {shard} and cell {cell} with shard {other} would have files of the same names: "
                    "rename one, best without -- in its name"
                )


def check_models(campaign: Campaign, controls: Collection[str] = (), new: Sequence[Shard] = ()) -> None:
    """Raise BadInput if a model can't be loaded, can't be attacked as its cells say, or a cell's networks don't fit.

    Models are tried on the first images of the shards of a new store; on synthetic ones where it is resumed.
    """
    samples = shards.glance(new[0], GLANCE) if new else []
    for name, model in campaign.models.items():
        if cells := [cell for cell in campaign.grid() if cell.model_name == name]:
            admission.admit(model, name, cells, controls, _images(samples, cells[0]))
    for cell in campaign.grid():
        bpda_networks.fit(cell)
        certificates.fit(cell)


def _images(samples: Sequence[Sample], cell: Cell) -> Tensor | None:
    """Return samples as a model gets them, (n, 3, crop, crop) in [0, 1]; None if none of them can be decoded."""
    images = []
    for sample in samples:
        with suppress(ValueError):
            images.append(torch.from_numpy(guarded.decode(sample.image, cell.resize, cell.crop, cell.framing, cell.exif)))
    return torch.stack(images).float() / 255 if images else None
