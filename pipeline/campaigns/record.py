"""Write a resolved campaign and the cuts of its cells into a store, and read them back.

campaign.yaml           {format, release, campaign, shards, identity, planned, definitions, plugins}: with all hashes, what each
                        cell plans, the versions of the definitions and the packages they come from
units/<cell>.json       {format, release, ...}: the cut of a cell; the first that is written stays
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import yaml

from pipeline.campaigns import definition_versions
from pipeline.config.campaign import Campaign, Cell, parse
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.planning import unit_sizes
from pipeline.planning.units import Cut
from pipeline.storage import urls
from pipeline.store import formats
from pipeline.store.layout import Store
from pipeline.store.planned_cells import DAMAGED, FILE, Planned, content_of, damaged


def encode(campaign: Campaign, shards: Iterable[Shard], cells: Mapping[str, Cell], planned: Mapping[str, Planned]) -> bytes:
    """Return a store's campaign.yaml."""
    content = formats.stamp() | {
        "campaign": campaign.model_dump(mode="json", exclude={"store", "workers"}),
        "shards": [asdict(shard) for shard in shards],
        "identity": {name: cell.identity for name, cell in cells.items()},
        "planned": {name: asdict(plan) for name, plan in planned.items()},
        **definition_versions.record(campaign),
    }
    return yaml.safe_dump(content, sort_keys=False).encode()


def read(store: Store, url: str) -> tuple[Campaign, dict[str, Shard]]:
    """Return the campaign that a store was made by, and its shards by name.

    Raises BadInput if there is no store, or one that this version can't read.
    """
    try:
        content = content_of(store, url)
        shards = [Shard(**(shard | {"labels": tuple(shard["labels"])})) for shard in content["shards"]]
        campaign = content["campaign"]
    except DAMAGED as error:
        raise damaged(url, error) from None
    try:
        parsed = parse(campaign, f"{url}/{FILE}")
    except BadInput as error:
        raise BadInput(f"{error}{definition_versions.missing(url)}") from None
    return parsed, {shard.name: shard for shard in shards}


def write_cuts(store: Store, cuts: Mapping[str, Cut]) -> None:
    """Write the cuts of cells that have none in the store. Cuts that are there stay: another driver was first."""
    for cell, cut in cuts.items():
        store.create(_cut_file(cell), formats.stamped(unit_sizes.encode(cut)))


def read_cuts(store: Store, cells: Iterable[str]) -> dict[str, Cut]:
    """Return the cuts of those cells that have one in the store."""
    files = ((cell, store.read(_cut_file(cell))) for cell in cells)
    return {cell: unit_sizes.decode(formats.unstamped(_path(store, cell), data)) for cell, data in files if data is not None}


def _path(store: Store, cell: str) -> str:
    return urls.join(store.url, _cut_file(cell))


def _cut_file(cell: str) -> str:
    return f"units/{cell}.json"
