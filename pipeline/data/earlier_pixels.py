"""Find the images of a store that had other pixels in the release that made it, and refuse to go on with it.

Nearly all images have the same pixels in every version of `pictures`, so identities do not tell the versions apart. A store
records the version; one of an earlier version is looked through, once, for images that differ.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from pipeline.data import pictures, shards
from pipeline.data.shards import Sample, Shard
from pipeline.errors import BadInput, ShardUnusable
from pipeline.parallel import map_ordered

KEY = "decoding"
"""The key of a store's file for the version that decoded its images. Stores of release 0.1 have none, which means 1."""


def recorded() -> dict[str, int]:
    """Return what a store records of the images whose rows it will hold."""
    return {KEY: pictures.VERSION}


def refuse(version: object, known: Collection[Shard], url: str, report: Callable[[str], None]) -> None:
    """Raise BadInput if an image of these shards had other pixels in a version; all images are read, unless it is the present.

    version  what the store at `url` records under KEY
    report   shows one line to a person
    """
    if version == pictures.VERSION:
        return
    report(f"store {url} was made by an earlier release: looking for images that had other pixels there")
    for found in map_ordered(_first, known):
        if found:
            raise BadInput(f"store {url}: {found}; go on with the release that made it, or use another --store")


def differing(shard: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Yield in words which samples of a shard had other pixels in version 1."""
    for sample in samples:
        if sample.status == "ok" and (before := pictures.before(sample.image)):
            yield f"image {sample.key} of shard {shard} {before} when the store was made"


def _first(shard: Shard) -> str:
    """Return the first line of `differing` of a whole shard, empty without any. Raises BadInput if it cannot be read."""
    try:
        return next(differing(shard.name, shards.read(shard, range(shard.images))), "")
    except ShardUnusable as error:
        raise BadInput(str(error)) from None
