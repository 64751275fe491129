"""Bring the images of a training to the device: all at once if they fit there, else batch by batch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bart import rng
from pipeline.data.training_images import Image, Images

CHUNK = 1024
"""Images decoded together."""

GPU_SHARE = 0.25
"""Share of a GPU's memory that images may fill."""

HOST_BYTES = 2 << 30
"""Bytes of a CPU machine's memory that images may fill."""


class Batch(NamedTuple):
    """Hold n images: pixels (n, 3, h, w) uint8 and labels (n,) int64 on the device, and n random keys."""

    pixels: Tensor
    label: Tensor
    keys: rng.Mirror

    def split(self, size: int) -> list["Batch"]:
        """Return the batch in parts of at most `size` images."""
        cuts = [slice(start, start + size) for start in range(0, len(self.label), size)]
        return [Batch(self.pixels[cut], self.label[cut], _rows(self.keys, cut)) for cut in cuts]


class Feed:
    """Make batches of images on a device.

    seed        of the images' random keys
    resident    keep all images on the device (default: if they fit); changes no number
    Images that cannot be read are left out of their batch.
    """

    def __init__(self, images: Images, device: torch.device, seed: int, resident: bool | None = None) -> None:
        self.images, self.device, self.seed = images, device, seed
        self.resident = self._fits() if resident is None else resident
        if self.resident:
            self._load()

    def _fits(self) -> bool:
        """Return whether all images fit into the memory set aside for them."""
        room = (
            torch.cuda.get_device_properties(self.device).total_memory * GPU_SHARE if self.device.type == "cuda" else HOST_BYTES
        )
        return len(self.images.every) * self.images.image_bytes <= room

    def _load(self) -> None:
        """Decode every image and keep it on the device; remember its row, or -1 if it cannot be read."""
        row: list[int] = []
        parts: list[Batch] = []
        end = 0
        for start in range(0, len(self.images.every), CHUNK):
            images = self.images.at(self.images.every[start : start + CHUNK])
            good = [image for image in images if image is not None]
            for image in images:
                row.append(-1 if image is None else end)
                end += image is not None
            if good:
                parts.append(self._batch(good))
        self._row = torch.tensor(row, dtype=torch.int64, device="cpu")
        pixels, label = torch.cat([batch.pixels for batch in parts]), torch.cat([batch.label for batch in parts])
        keys = torch.cat([batch.keys.host for batch in parts])
        self._all = Batch(pixels, label, rng.Mirror.of(keys, self.device))

    def batches(self, start: int, stop: int, size: int, part: int = 0, parts: int = 1) -> Iterator[Batch | None]:
        """Yield the batches `start` to `stop` (excluded); None for a batch without a readable image.

        part, parts  which of how many workers asks: each gets its share of every batch
        """

        def places(number: int) -> list[int]:
            """Return this worker's positions of batch `number`."""
            return self.images.places(number, size)[part::parts]

        if self.resident:
            for number in range(start, stop):
                yield self.at(places(number))
        else:
            for images in self.images.ahead(places(number) for number in range(start, stop)):
                yield self._batch(images) if images else None

    def at(self, places: Sequence[int]) -> Batch | None:
        """Return the images at these positions, or None if none can be read."""
        if not self.resident:
            images = self.images.read(places)
            return self._batch(images) if images else None
        rows = self._row[torch.as_tensor(places)]
        rows = rows[rows >= 0]
        if not len(rows):
            return None
        index = rng.Mirror.of(rows, self.device)
        pixels, label = self._all.pixels[index.device], self._all.label[index.device]
        return Batch(pixels, label, self._all.keys.map(lambda side, rows: side[rows], index))

    def _batch(self, images: Sequence[Image]) -> Batch:
        """Return decoded images as a batch on the device."""
        pixels = torch.from_numpy(np.stack([image.pixels for image in images]))
        label = torch.tensor([image.label for image in images], dtype=torch.int64, device="cpu")
        keys = torch.tensor([rng.key(self.seed, "image", image.key) for image in images], dtype=torch.int64, device="cpu")
        if self.device.type == "cuda":  # copies from other memory would wait for the device
            pixels, label = pixels.pin_memory(), label.pin_memory()
        pixels, label = (tensor.to(self.device, non_blocking=True) for tensor in (pixels, label))
        return Batch(pixels, label, rng.Mirror.of(keys, self.device))


def _rows(keys: rng.Mirror, cut: slice) -> rng.Mirror:
    """Return some of the keys."""
    return keys.map(lambda side: side[cut])
