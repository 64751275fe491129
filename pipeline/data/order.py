"""Order the images of a shard for the attack: by the seed, the same for all cells.

Shards are often sorted by class. In this order the first part of a shard is a random sample of it. So the figures of an
unfinished campaign, or of a cell that a stop rule ended, estimate those of the whole. All cells share the order, so they are
compared on the same images.
"""

from functools import lru_cache

from bart import key


@lru_cache(maxsize=64)
def order(seed: int, shard: str, images: int) -> tuple[int, ...]:
    """Return the positions 0 to `images` - 1 of a shard, sorted by their random keys."""
    return tuple(sorted(range(images), key=lambda place: key(seed, "order", shard, place)))


def places(seed: int, shard: str, images: int, start: int, stop: int) -> list[int]:
    """Return the positions in the shard of the images `start` to `stop` (excluded) of that order, ascending."""
    return sorted(order(seed, shard, images)[start:stop])
