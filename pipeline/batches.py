"""The images of a training: which are kept out of it, the order in which the others come, and decoded when they are needed."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart import rng
from pipeline import shards
from pipeline.campaign import Data
from pipeline.shards import Sample, Shard

WINDOW = 2048
"""Images that are shuffled together, whole shards of them: so many lie encoded in memory, or twice as many for a moment."""

CACHE_BYTES = 256 << 20
"""Decoded images kept for the next pass; a set that fits is decoded once."""

Image = tuple[str, np.ndarray[Any, Any]]
"""Key and pixels (3, crop, crop) uint8."""


def counts(found: Sequence[Shard], limit: int | None) -> list[int]:
    """How many images of each shard take part, where only the first `limit` of all do."""
    ends = [min(end, limit) if limit is not None else end for end in accumulate(shard.images for shard in found)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


class Images:
    """The images of some shards, each called by its place among all of them.

    seed        decides which `held_out` images are kept out, and the order of every pass over the others
    threads     that decode
    What a batch holds depends on its number and on nothing else. Images that can not be read are left out of their batch.
    """

    def __init__(self, found: Sequence[Shard], data: Data, seed: int, held_out: int, threads: int = 1) -> None:
        self._shards, self._data, self._seed = list(found), data, seed
        self._counts = counts(found, data.limit)
        self._starts = [0, *accumulate(self._counts)]
        self.held_out = self._kept_out(held_out)
        self._encoded: OrderedDict[int, list[Sample]] = OrderedDict()
        self._decoded: dict[int, Image | None] = {}
        self._room = CACHE_BYTES // (3 * data.crop**2)
        self._pool = ThreadPoolExecutor(threads)
        self.order = lru_cache(maxsize=2)(self._order)  # a batch may reach into the next pass

    def _members(self, shard: int, *key: int | str) -> Tensor:
        """The places of a shard's images in the order of a key."""
        return self._starts[shard] + _shuffled(self._counts[shard], self._seed, *key, self._shards[shard].name)

    def _by_key(self, *key: int | str) -> list[int]:
        """The shards in the order of a key."""
        return sorted(range(len(self._shards)), key=lambda i: rng.key(self._seed, *key, self._shards[i].name))

    def _kept_out(self, wanted: int) -> Tensor:
        """The places kept out of training: from as few shards as hold so many, since each has to be read whole."""
        places = torch.cat([self._members(i, "held out") for i in self._by_key("held out")])[:wanted]
        assert len(places) == wanted, "fewer images than are kept out"
        return places

    def _order(self, turn: int) -> Tensor:
        """The places of a pass in its order: shards shuffled, then the images of neighbouring shards."""
        windows: list[list[Tensor]] = [[]]
        for i in self._by_key("pass", turn):
            if windows[-1] and sum(map(len, windows[-1])) + self._counts[i] > WINDOW:
                windows.append([])
            windows[-1].append(torch.arange(self._starts[i], self._starts[i + 1]))
        shuffled = []
        for number, window in enumerate(windows):
            places = torch.cat(window)
            shuffled.append(places[_shuffled(len(places), self._seed, "pass", turn, number)])
        order = torch.cat(shuffled)
        return order[~torch.isin(order, self.held_out)]

    def places(self, step: int, size: int) -> list[int]:
        """The places of batch `step`; the passes follow each other without a gap."""
        length = self._starts[-1] - len(self.held_out)
        turns = [divmod(i, length) for i in range(step * size, (step + 1) * size)]
        return [int(self.order(turn)[i]) for turn, i in turns]

    def read(self, places: Sequence[int]) -> list[Image]:
        """The images at these places, but for those that can not be read. Raises shards.Changed."""
        fresh = [place for place in places if place not in self._decoded]
        found = dict(zip(fresh, self._pool.map(self._decode, [self._sample(place) for place in fresh]), strict=True))
        every = [self._decoded[place] if place in self._decoded else found[place] for place in places]
        for place, image in found.items():
            if len(self._decoded) < self._room:
                self._decoded[place] = image
        return [image for image in every if image is not None]

    def batches(self, start: int, stop: int, size: int) -> Iterator[list[Image]]:
        """Batches `start` to `stop`, the next one being read while the last is worked on."""

        def batch(number: int) -> list[Image]:
            return self.read(self.places(number, size)) if number < stop else []

        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(batch, start)
            for number in range(start, stop):
                ready, waiting = waiting.result(), ahead.submit(batch, number + 1)
                yield ready

    def _sample(self, place: int) -> Sample:
        i = bisect_right(self._starts, place) - 1
        if i not in self._encoded:
            while self._encoded and sum(map(len, self._encoded.values())) + self._counts[i] > 2 * WINDOW:
                self._encoded.popitem(last=False)
            self._encoded[i] = shards.read(self._shards[i], range(self._counts[i]))
        return self._encoded[i][place - self._starts[i]]

    def _decode(self, sample: Sample) -> Image | None:
        if sample.status != "ok":
            return None
        try:
            return sample.key, shards.decode(sample.image, self._data.resize, self._data.crop)
        except ValueError:
            return None


def _shuffled(count: int, *key: int | str) -> Tensor:
    """0 to count - 1 in the order of a key, (count,) int64."""
    return rng.order(torch.tensor([rng.key(*key)]), "places", count)[0]
