"""Record in a store's campaign.yaml which definitions its numbers come from, and refuse to mix versions of one."""

from collections.abc import Callable, Collection
from typing import Any

from pipeline.config import definitions
from pipeline.config.campaign import Campaign
from pipeline.config.definitions import Versions
from pipeline.config.yaml_loader import plain
from pipeline.data import earlier_pixels
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.scoring.rules import RULES
from pipeline.store.layout import Store
from pipeline.store.planned_cells import DAMAGED, FILE, damaged


def record(campaign: Campaign) -> dict[str, Any]:
    """Return the part of campaign.yaml that names the definitions: their versions, and who added those of other packages; and
    the version that decodes images."""
    versions = _versions(campaign)
    return {"definitions": versions, "plugins": definitions.plugins(versions), **earlier_pixels.recorded()}


def check(earlier: Campaign, campaign: Campaign, url: str) -> None:
    """Raise BadInput if a store, made for `earlier`, has another version of a definition that the campaign uses."""
    if changed := definitions.differences(recorded(earlier, url), _versions(campaign)):
        raise BadInput(f"store {url}: {'; '.join(changed)}: go on with the release that wrote it, or use another --store")


def check_images(present: Collection[Shard], url: str, report: Callable[[str], None] = lambda line: None) -> None:
    """Raise BadInput if an image of the shards `present` had other pixels when the store was made; `report` shows one line."""
    earlier_pixels.refuse(decoding(url), present, url, report)


def decoding(url: str) -> object:
    """Return the version that decoded the images of a store, as its campaign.yaml says."""
    return plain(Store(url).read(FILE) or b"").get(earlier_pixels.KEY, 1)


def outdated(campaign: Campaign, url: str) -> dict[str, str]:
    """Return the cells of a store whose definitions have another version now, each with what changed in words: their numbers
    stand, but this program cannot make them again. `campaign` is that of the store. Raises BadInput if the store is damaged.
    """
    before = recorded(campaign, url)
    found = {cell.name: "; ".join(definitions.differences(before, cell.versions)) for cell in campaign.grid()}
    return {name: changed for name, changed in found.items() if changed}


def missing(url: str) -> str:
    """Return in words which packages a store's definitions come from, for the message that one cannot be used; else nothing."""
    found = plain(Store(url).read(FILE) or b"").get("plugins", [])
    sources = sorted({" ".join(filter(None, (plugin["source"], plugin["version"]))) for plugin in found})
    return f"; the store was made with {', '.join(sources)}: install that, or allow that module" if sources else ""


def recorded(earlier: Campaign, url: str) -> Versions:
    """Return the versions of the definitions by which a store was made for `earlier`, by table. Raises BadInput.

    A table that the store does not record was not kept when it was made: its definitions had version 1.
    """
    first = {table: dict.fromkeys(names, 1) for table, names in _versions(earlier).items()}
    try:
        recorded = plain(Store(url).read(FILE) or b"").get("definitions", {})
        return first | {table: {**names} for table, names in recorded.items()}
    except BadInput:
        raise
    except DAMAGED as error:
        raise damaged(url, error) from None


def _versions(campaign: Campaign) -> Versions:
    """Return the versions of all that a campaign uses, its stop rule's included."""
    stop: Versions = {RULES.table: {campaign.stop.rule: RULES.version(campaign.stop.rule)}} if campaign.stop else {}
    return definitions.together([*(cell.versions for cell in campaign.grid()), stop])
