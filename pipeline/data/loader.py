"""Images of a training on their way to the device: all of them there once and for all where they fit, else batch by batch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bart import rng
from pipeline.data.training_images import Image, Images

CHUNK = 1024
"""Images decoded together."""

SHARE = 0.25
"""Of a GPU's memory that images may take."""

ON_HOST = 2 << 30
"""Bytes of images that are kept in a host's memory."""


class Batch(NamedTuple):
    """n images: pixels (n, 3, h, w) uint8 and labels (n,) int64 on the device, and one key for each."""

    pixels: Tensor
    label: Tensor
    keys: rng.Mirror

    def split(self, size: int) -> list["Batch"]:
        """Parts of at most `size` images."""
        cuts = [slice(start, start + size) for start in range(0, len(self.label), size)]
        return [Batch(self.pixels[cut], self.label[cut], _some(self.keys, cut)) for cut in cuts]


class Feed:
    """Batches of images on a device; where these lie decides no number.

    seed        with which an image's key makes the key of its randomness
    resident    whether all images lie on the device; where they fit, unless told
    Images that can not be read are left out of their batch.
    """

    def __init__(self, images: Images, device: torch.device, seed: int, resident: bool | None = None) -> None:
        self.images, self.device, self.seed = images, device, seed
        self.resident = self._fits() if resident is None else resident
        if self.resident:
            self._load()

    def _fits(self) -> bool:
        room = torch.cuda.get_device_properties(self.device).total_memory * SHARE if self.device.type == "cuda" else ON_HOST
        return len(self.images.every) * self.images.image_bytes <= room

    def _load(self) -> None:
        """Decodes every image, and remembers at which row it lies."""
        row: list[int] = []
        some: list[Batch] = []
        end = 0
        for start in range(0, len(self.images.every), CHUNK):
            found = self.images.at(self.images.every[start : start + CHUNK])
            good = [image for image in found if image is not None]
            for image in found:
                row.append(-1 if image is None else end)
                end += image is not None
            if good:
                some.append(self._batch(good))
        self._row = torch.tensor(row)
        pixels, label = torch.cat([batch.pixels for batch in some]), torch.cat([batch.label for batch in some])
        keys = torch.cat([batch.keys.host for batch in some])
        self._all = Batch(pixels, label, rng.Mirror.of(keys, self.device))

    def batches(self, start: int, stop: int, size: int, part: int = 0, parts: int = 1) -> Iterator[Batch | None]:
        """Batches `start` to `stop`, or every worker's part of each; None for one without a readable image."""

        def places(number: int) -> list[int]:
            return self.images.places(number, size)[part::parts]

        if self.resident:
            for number in range(start, stop):
                yield self.at(places(number))
        else:
            for found in self.images.ahead(places(number) for number in range(start, stop)):
                yield self._batch(found) if found else None

    def at(self, places: Sequence[int]) -> Batch | None:
        """The images at these places."""
        if not self.resident:
            found = self.images.read(places)
            return self._batch(found) if found else None
        rows = self._row[torch.as_tensor(places)]
        rows = rows[rows >= 0]
        if not len(rows):
            return None
        where = rng.Mirror.of(rows, self.device)
        pixels, label = self._all.pixels[where.device], self._all.label[where.device]
        return Batch(pixels, label, self._all.keys.map(lambda side, rows: side[rows], where))

    def _batch(self, found: Sequence[Image]) -> Batch:
        pixels = torch.from_numpy(np.stack([image.pixels for image in found]))
        label = torch.tensor([image.label for image in found])
        keys = torch.tensor([rng.key(self.seed, "image", image.key) for image in found])
        if self.device.type == "cuda":  # from other memory, a copy waits for the device
            pixels, label = pixels.pin_memory(), label.pin_memory()
        pixels, label = (tensor.to(self.device, non_blocking=True) for tensor in (pixels, label))
        return Batch(pixels, label, rng.Mirror.of(keys, self.device))


def _some(keys: rng.Mirror, cut: slice) -> rng.Mirror:
    return keys.map(lambda side: side[cut])
