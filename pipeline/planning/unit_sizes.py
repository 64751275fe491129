"""Decide how large units are: about a quarter of an hour of one worker, from a measured rate, and less towards the end.

Each unit costs some requests and a file, so units should be large. A large unit makes the other workers wait at the end of a
campaign, so the last units should be small. Therefore a unit takes UNIT_SECONDS, but at most 1/SHARE of the work that is left
when it is handed out, less where there are many workers, and at least LEAST_SECONDS. `idle` computes how long workers wait at
the end.

The cut of a cell is decided before its first unit is begun, and kept in the store. Rows are committed by unit, so units must
not depend on who works later, on how fast, or on what is measured then.
"""

import heapq
from collections.abc import Iterable, Mapping
from itertools import groupby

from pipeline.config.campaign import Campaign, Cell
from pipeline.planning.cost import seconds_an_image
from pipeline.planning.state_sizes import bytes_an_image
from pipeline.planning.units import Cut, Runs, costliest_first

UNIT_SECONDS = 900.0
"""Seconds that a worker takes for a unit, at most."""

LEAST_SECONDS = 60.0
"""Seconds that a worker takes for a unit at least, unless one image takes longer or the shard has no more images."""

SHARE = 256
"""Keep at least this many units outstanding, so that this many workers stay busy until the end."""

SHARE_OF_WORKERS = 2
"""Keep at least this many units a worker outstanding, where there are more than SHARE of them."""

ROUNDS = 20
"""Rounds of a cell with a stop rule, at most: there may be an interim check after each twentieth of the images."""

MOST_BYTES = 600_000_000
"""Bytes of the state of a unit's attack, at most, if it takes longer than the time between two checkpoints: each holds it all.
Attacks keep from one to twenty tensors as large as the image, so a unit of L-BFGS has fewer images than one of PGD."""

HELD_BYTES = 4_000_000_000
"""Bytes of such a state, whatever the unit takes: a worker holds it on its device, and saves it when it has to leave."""

UNMEASURED = 16
"""Images of a unit where measuring the rate failed."""


def cuts(
    campaign: Campaign, cells: Iterable[Cell], images: Mapping[str, int], rate: Mapping[str, float], workers: int = 1
) -> dict[str, Cut]:
    """Return the cut of each of `cells`, which are new in a store.

    `images` of each shard; `rate` of each cell in draw-gradients a second of one worker, as far as measured; `workers` that
    there are now.
    """
    cells = costliest_first(cells)
    total = sum(images.values())
    rounds = max(1, min(ROUNDS, total // max(1, len(images)))) if campaign.stop else 1
    if campaign.unit_images is not None:
        return {cell.name: Cut(campaign.unit_images, rounds) for cell in cells}
    left = sum(total * seconds_an_image(cell, rate[cell.name]) for cell in cells if cell.name in rate)
    share, decided = max(SHARE, SHARE_OF_WORKERS * workers), {}
    for cell in cells:
        if cell.name not in rate:
            decided[cell.name] = Cut(UNMEASURED, rounds)
            continue
        each = seconds_an_image(cell, rate[cell.name])
        most = _most(each, bytes_an_image(cell), campaign.workers.checkpoint_seconds)
        if rounds > 1:  # every round ends with a wait, so its units are as small as those at the end of a campaign
            decided[cell.name] = Cut(_length(total / rounds * each, each, most, share), rounds)
        else:
            decided[cell.name] = _tapered(images, left, each, most, share)
        left -= total * each
    return decided


def _most(each: float, size: int, checkpoint_seconds: float) -> int:
    """Return the most images of a unit, of which each takes `each` seconds and `size` bytes of state: at least one."""
    without = int(checkpoint_seconds / each)  # over before a first checkpoint is due
    return max(1, min(HELD_BYTES // size, max(MOST_BYTES // size, without)))


def _length(left: float, each: float, most: int, share: int) -> int:
    """Return the images of a unit, `most` at most, while `left` seconds of work remain and an image takes `each` seconds; it
    takes at most 1/`share` of them."""
    return min(most, max(1, round(min(UNIT_SECONDS, max(LEAST_SECONDS, left / share)) / each)))


def _tapered(images: Mapping[str, int], left: float, each: float, most: int, share: int) -> Cut:
    """Return a cut of one round whose units get smaller as the work of the campaign does; shards are cut at an even pace."""
    largest = _length(left, each, most, share)
    if _length((left - sum(images.values()) * each) * (1 - 1e-9), each, most, share) == largest:
        return Cut(largest)  # the work of the campaign never gets so little
    lengths: dict[str, list[int]] = {shard: [] for shard in images}
    fronts = [(0.0, position, shard, 0) for position, (shard, count) in enumerate(images.items()) if count]
    while fronts:
        _, position, shard, start = heapq.heappop(fronts)
        length = min(_length(left, each, most, share), images[shard] - start)
        lengths[shard].append(length)
        left, start = left - length * each, start + length
        if start < images[shard]:
            heapq.heappush(fronts, (start / images[shard], position, shard, start))
    plain = Cut(largest)
    smaller = {name: _runs(cut) for name, cut in lengths.items() if cut != list(plain.lengths(name, images[name]))}
    return Cut(largest, 1, smaller)


def _runs(lengths: Iterable[int]) -> Runs:
    return tuple((length, len(list(same))) for length, same in groupby(lengths))


def idle(seconds: Iterable[float], workers: int) -> float:
    """Return the share of the workers' time, in [0, 1], that they wait for the last unit.

    `seconds` of each unit, in the order in which they are handed to the next free worker.
    """
    free = [0.0] * workers
    work = 0.0
    for unit in seconds:
        heapq.heapreplace(free, free[0] + unit)
        work += unit
    return 1 - work / (workers * max(free)) if work else 0.0
