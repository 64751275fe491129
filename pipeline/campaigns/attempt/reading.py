"""Read the images of a unit: those alone, where a listing says where they lie; else the whole shard, which makes one.

shards/<shard>.json     {format, release, shard, samples, sha256}: the listing of a shard that has none beside it
"""

from collections.abc import Collection

from pipeline.data import shards
from pipeline.data.listings import Listing
from pipeline.data.samples import Sample
from pipeline.data.shards import Shard
from pipeline.errors import BadInput
from pipeline.store import formats
from pipeline.store.layout import Store


def samples(store: Store, shard: Shard, wanted: Collection[int]) -> list[Sample]:
    """Return the samples at the positions `wanted` of a shard, in its order.

    Raises ShardUnusable as `shards.read` does, which has the last word wherever a listing and a shard do not agree.
    """
    if len(wanted) >= shard.images:
        return shards.read(shard, wanted)
    listing = shards.listing_beside(shard) or _kept(store, shard)
    found = shards.read_listed(shard, listing, wanted) if listing else None
    if found is not None:
        return found
    found, listing = shards.read_and_list(shard, wanted)
    if listing:
        store.replace(_file_of(shard), formats.to_json(listing.content()))
    return found


def _kept(store: Store, shard: Shard) -> Listing | None:
    """Return the listing of a shard that the store keeps; None if it has none, or a damaged one."""
    data = store.read(_file_of(shard))
    try:
        return Listing.of(formats.of_json(_file_of(shard), data)) if data else None
    except (BadInput, KeyError, TypeError, ValueError):
        return None


def _file_of(shard: Shard) -> str:
    return f"shards/{shard.name}.json"
