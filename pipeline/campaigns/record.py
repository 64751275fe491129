"""Write a resolved campaign into a store, and read it back.

campaign.yaml           {format, release, campaign, shards, identity, planned, definitions, plugins, sha256}: with all hashes,
                        what each cell plans, the versions of the definitions and the packages they come from
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import yaml

from pipeline.campaigns import definition_versions
from pipeline.config.campaign import Campaign, Cell, parse
from pipeline.data.pack.classes import given
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.store import formats
from pipeline.store.layout import Store
from pipeline.store.planned_cells import DAMAGED, FILE, Planned, content_of, damaged


def encode(campaign: Campaign, shards: Iterable[Shard], cells: Mapping[str, Cell], planned: Mapping[str, Planned]) -> bytes:
    """Return a store's campaign.yaml."""
    content = {
        "campaign": campaign.model_dump(mode="json", exclude={"store", "workers"}),
        "shards": [shard.described() for shard in shards],
        "identity": {name: cell.identity for name, cell in cells.items()},
        "planned": {name: asdict(plan) for name, plan in planned.items()},
        **definition_versions.record(campaign),
    }
    return yaml.safe_dump(formats.hashed(content), sort_keys=False).encode()


def read(store: Store, url: str) -> tuple[Campaign, dict[str, Shard]]:
    """Return the campaign that a store was made by, and its shards by name.

    Raises BadInput if there is no store, or one that this version can't read.
    """
    try:
        content = content_of(store, url)
        campaign = content["campaign"]
        classes = given(campaign["data"].get("classes"))
        shards = [Shard.of(shard, classes) for shard in content["shards"]]
    except BadInput:
        raise
    except DAMAGED as error:
        raise damaged(url, error) from None
    try:
        parsed = parse(campaign, f"{url}/{FILE}")
    except BadInput as error:
        raise BadInput(f"{error}{definition_versions.missing(url)}") from None
    return parsed, {shard.name: shard for shard in shards}
