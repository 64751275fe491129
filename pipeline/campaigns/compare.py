"""Compare a campaign with the one that a store was made by. Cells, shards and images may be added; what is there must stay."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from pipeline.config.campaign import Campaign, Cell, Data, Stop
from pipeline.errors import BadInput


class Compared(Protocol):
    """Describe what is compared of a job; see `pipeline.campaigns.job.Job`."""

    @property
    def campaign(self) -> Campaign:
        """Return the campaign."""

    @property
    def cells(self) -> Mapping[str, Cell]:
        """Return its cells by name."""

    @property
    def images(self) -> Mapping[str, int]:
        """Return how many images of each shard are attacked."""


def refuse_changes(earlier: Compared, now: Compared, url: str) -> None:
    """Raise BadInput if `now` changes or lacks anything of the job `earlier` that the store at `url` was made by."""
    for name, cell in earlier.cells.items():
        if name not in now.cells:
            raise BadInput(f"store {url} holds the cell {name}, which the campaign lacks: add it, or use another --store")
        if now.cells[name].identity != cell.identity:
            differ = differing(cell.model_dump(), now.cells[name].model_dump())
            changed = ", ".join(f"{key} was {_short(old)}, is {_short(new)}" for key, old, new in differ)
            raise BadInput(
                f"store {url} is of another campaign: in cell {name} {changed}; use another --store, or put that back and add "
                "yours as a cell of its own, under another name"
            )
    if earlier.campaign.data.limit != now.campaign.data.limit:
        before, limit = earlier.campaign.data.limit, now.campaign.data.limit
        back = f"with --limit {before}" if before else "without a limit"
        raise BadInput(f"store {url} was made with data.limit {before}, not {limit}: go on {back}, or use another --store")
    for shard, count in earlier.images.items():
        if now.images.get(shard, count) != count:
            raise BadInput(
                f"store {url} attacks {count} images of shard {shard}, now data.limit leaves {now.images[shard]}: list new "
                f"shards after the old ones"
            )
    _refuse_other_classes(earlier.campaign.data, now.campaign.data, url)
    _refuse_earlier_stop(earlier.campaign.stop, now.campaign.stop, url)


def _refuse_other_classes(before: Data, now: Data, url: str) -> None:
    """Raise BadInput if a folder or table of images gives other labels. With shards, the classes only show labels."""
    for label, (was, name) in enumerate(zip(before.classes or (), now.classes or (), strict=False)):
        if was != name and not before.shards:
            raise BadInput(
                f"store {url} was made with {was!r} as class {label}, now it is {name!r}: put data.classes and the folders "
                "back, or use another --store"
            )


def differing(
    before: Mapping[str, object], now: Mapping[str, object], inside: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Yield each key that differs between two mappings, dotted, and its values; None where a mapping lacks it.

    inside  the dotted name of the section
    """
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differing(old, new, f"{inside}{key}.")
        elif old != new:
            yield f"{inside}{key}", old, new


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _refuse_earlier_stop(before: Stop | None, now: Stop | None, url: str) -> None:
    """Raise BadInput if a stop rule would end a cell sooner: rows would be left over.

    A stop rule may be removed or made stricter. Then the same images come first, and more follow.
    """
    if now is None or now == before:
        return
    if before is None:
        raise BadInput(f"store {url} was made without a stop rule: take `stop` out of the campaign, or use another --store")
    for name, old, new in (
        ("rule", before.rule, now.rule),
        ("minimum_images", before.minimum_images, now.minimum_images),
    ):
        if new != old:
            raise BadInput(f"store {url} was made with stop.{name} {old}, not {new}: put it back, or use another --store")
    if now.interval > before.interval:
        raise BadInput(
            f"store {url} was made with stop.interval {before.interval:g}, not the wider {now.interval:g}: give at most "
            f"{before.interval:g}, or use another --store"
        )
