"""The order in which the images of a shard are attacked: fixed by the seed, the same for all cells.

Shards are often sorted by class. In this order any first part of a shard is a random sample of it, so what a campaign says
while it runs, or when a stop rule ends it, is said of the whole. Cells have it in common: they are compared on the same images.
"""

from functools import lru_cache

from bart import key


@lru_cache(maxsize=64)
def order(seed: int, shard: str, images: int) -> tuple[int, ...]:
    """The places 0 to `images` - 1 of a shard, in the order of their keys."""
    return tuple(sorted(range(images), key=lambda place: key(seed, "order", shard, place)))


def places(seed: int, shard: str, images: int, start: int, stop: int) -> list[int]:
    """Where the images `start` to `stop` of that order lie in the shard, ascending."""
    return sorted(order(seed, shard, images)[start:stop])
