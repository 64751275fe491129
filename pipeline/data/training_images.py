"""Choose, order and decode the images of a training: held-out images, the order of each pass, decoding on demand."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bart import rng
from pipeline.config.campaign import Data
from pipeline.data import shards
from pipeline.data.shards import Sample, Shard

WINDOW = 2048
"""Default number of images that are shuffled together; at most twice as many are encoded in memory."""

CACHE_BYTES = 256 << 20
"""Default bytes of decoded images to keep; a set of images that fits is decoded only once."""


class Image(NamedTuple):
    """Hold a decoded sample; pixels (3, crop, crop) uint8."""

    key: str
    pixels: np.ndarray[Any, Any]
    label: int


def counts(used: Sequence[Shard], limit: int | None) -> list[int]:
    """Return how many images of each shard are used, if only the first `limit` of all are (default: all)."""
    ends = [min(end, limit) if limit is not None else end for end in accumulate(shard.images for shard in used)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


class Images:
    """Read the images of some shards; an image is named by its position among all of them.

    seed        decides which `held_out` images are kept out of training, and the order of every pass over the others
    threads     number of threads that decode
    window      number of images that are shuffled together, in whole shards (default: WINDOW)
    cache       bytes of decoded images to keep for the next pass (default: CACHE_BYTES)
    A batch depends on its number and nothing else. Images that cannot be read are left out of their batch.
    """

    def __init__(
        self,
        used: Sequence[Shard],
        data: Data,
        seed: int,
        held_out: int,
        threads: int = 1,
        window: int | None = None,
        cache: int | None = None,
    ) -> None:
        self._shards, self._data, self._seed = list(used), data, seed
        self._window = WINDOW if window is None else window
        self._counts = counts(used, data.limit)
        self._starts = [0, *accumulate(self._counts)]
        self.held_out = self._kept_out(held_out)
        self._encoded: OrderedDict[int, list[Sample]] = OrderedDict()
        self._decoded: dict[int, Image | None] = {}
        self.image_bytes = 3 * data.crop**2
        self._room = (CACHE_BYTES if cache is None else cache) // self.image_bytes
        self._pool = ThreadPoolExecutor(threads)
        self.order = lru_cache(maxsize=2)(self._order)  # a batch may reach into the next pass

    @property
    def in_training(self) -> int:
        """Return the number of images of one pass."""
        return self._starts[-1] - len(self.held_out)

    @property
    def every(self) -> range:
        """Return the positions of all images."""
        return range(self._starts[-1])

    def _members(self, shard: int, *key: int | str) -> Tensor:
        """Return the positions of a shard's images, shuffled by a key."""
        return self._starts[shard] + _shuffled(self._counts[shard], self._seed, *key, self._shards[shard].name)

    def _by_key(self, *key: int | str) -> list[int]:
        """Return the numbers of the shards, shuffled by a key."""
        return sorted(range(len(self._shards)), key=lambda i: rng.key(self._seed, *key, self._shards[i].name))

    def _kept_out(self, wanted: int) -> Tensor:
        """Return `wanted` positions to keep out of training, from few shards, since each shard has to be read whole."""
        places = torch.cat([self._members(i, "held out") for i in self._by_key("held out")])[:wanted]
        assert len(places) == wanted, "fewer images than must be held out"
        return places

    def _order(self, turn: int) -> Tensor:
        """Return the positions of a pass in order: shuffled shards, then the shuffled images of neighbouring shards."""
        windows: list[list[Tensor]] = [[]]
        for i in self._by_key("pass", turn):
            if windows[-1] and sum(map(len, windows[-1])) + self._counts[i] > self._window:
                windows.append([])
            windows[-1].append(torch.arange(self._starts[i], self._starts[i + 1], device="cpu"))
        shuffled = []
        for number, window in enumerate(windows):
            places = torch.cat(window)
            shuffled.append(places[_shuffled(len(places), self._seed, "pass", turn, number)])
        order = torch.cat(shuffled)
        return order[~torch.isin(order, self.held_out)]

    def places(self, step: int, size: int) -> list[int]:
        """Return the `size` positions of batch `step`; each pass begins where the one before ends."""
        positions: list[int] = []
        while len(positions) < size:
            turn, i = divmod(step * size + len(positions), self.in_training)
            positions += self.order(turn)[i : i + size - len(positions)].tolist()
        return positions

    def read(self, places: Sequence[int]) -> list[Image]:
        """Return the images at these positions, without those that cannot be read. Raises ShardUnusable."""
        return [image for image in self.at(places) if image is not None]

    def at(self, places: Sequence[int]) -> list[Image | None]:
        """Return the images at these positions, None for each that cannot be read. Raises ShardUnusable."""
        fresh = [place for place in places if place not in self._decoded]
        decoded = dict(zip(fresh, self._pool.map(self._decode, [self._sample(place) for place in fresh]), strict=True))
        every = [self._decoded[place] if place in self._decoded else decoded[place] for place in places]
        for place, image in decoded.items():
            if len(self._decoded) < self._room:
                self._decoded[place] = image
        return every

    def batches(self, start: int, stop: int, size: int) -> Iterator[list[Image]]:
        """Yield the batches `start` to `stop` (excluded); the next one is read while the caller uses the last."""
        return self.ahead(self.places(number, size) for number in range(start, stop))

    def ahead(self, batches: Iterable[Sequence[int]]) -> Iterator[list[Image]]:
        """Yield the images of batches of positions; the next batch is read while the caller uses the last."""
        with ThreadPoolExecutor(1) as reader:
            waiting: Future[list[Image]] | None = None
            for places in batches:
                ready, waiting = waiting, reader.submit(self.read, places)
                if ready is not None:
                    yield ready.result()
            if waiting is not None:
                yield waiting.result()

    def _sample(self, place: int) -> Sample:
        """Return the encoded image at a position; its shard stays in memory for the images that follow."""
        i = bisect_right(self._starts, place) - 1
        if i not in self._encoded:
            while self._encoded and sum(map(len, self._encoded.values())) + self._counts[i] > 2 * self._window:
                self._encoded.popitem(last=False)
            self._encoded[i] = shards.read(self._shards[i], range(self._counts[i]))
        return self._encoded[i][place - self._starts[i]]

    def _decode(self, sample: Sample) -> Image | None:
        """Return a decoded sample, or None if it is damaged."""
        if sample.status != "ok":
            return None
        try:
            return Image(
                sample.key, shards.decode(sample.image, self._data.resize, self._data.crop, exif=self._data.exif), sample.label
            )
        except ValueError:
            return None


def _shuffled(count: int, *key: int | str) -> Tensor:
    """Return 0 to count - 1 shuffled by a key, (count,) int64."""
    return rng.order(torch.tensor([rng.key(*key)], dtype=torch.int64, device="cpu"), "places", count)[0]
