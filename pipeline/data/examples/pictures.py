"""Read examples from image files: a folder of them, or WebDataset shards."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.config.campaign import Data
from pipeline.data import shards
from pipeline.data.pack.writing import Keyed, keyed
from pipeline.data.pictures import ENDINGS, opened
from pipeline.data.shards import Shard
from pipeline.errors import BadInput


class Store(Protocol):
    """Give the bytes of image files."""

    def files(self, places: Sequence[int]) -> Iterator[bytes | str]:
        """Yield the bytes of the files at these places, or why there are none."""
        ...


@dataclass(frozen=True)
class Pictures:
    """Hold examples that are image files; of each, the key is the name without ending. Their sizes show when they are read."""

    keys: Sequence[str]
    sha256: str
    store: Store
    labels: Sequence[int] | None = None
    side: tuple[int, int] | None = None

    @property
    def count(self) -> int:
        """Return how many examples there are."""
        return len(self.keys)

    def read(self, places: Sequence[int]) -> list[Tensor | str]:
        """Return examples (3, h, w) float32 in [0, 1], or why one cannot be used."""
        return [_decoded(data) for data in self.store.files(places)]


def _decoded(data: bytes | str) -> Tensor | str:
    if isinstance(data, str):
        return f"its example: {data}"
    try:
        return torch.from_numpy(np.asarray(opened(data)).transpose(2, 0, 1).copy()).float() / 255
    except ValueError as error:
        return f"its example: {error}"


@dataclass(frozen=True)
class Folder:
    """Give the image files of a folder."""

    found: Sequence[Keyed]

    def files(self, places: Sequence[int]) -> Iterator[bytes | str]:
        """Yield the bytes of the files at these places, or why there are none."""
        for place in places:
            try:
                yield self.found[place][1].read_bytes()
            except OSError as error:
                yield f"it cannot be read: {error.strerror}"


@dataclass(frozen=True)
class Tars:
    """Give the images of shards, in their order."""

    found: Sequence[Shard]

    def files(self, places: Sequence[int]) -> Iterator[bytes | str]:
        """Yield the bytes of the images at these places, or why there are none. Raises ShardUnusable for a changed shard."""
        data, first = dict[int, bytes | str](), 0
        for shard in self.found:
            own = frozenset(place - first for place in places if first <= place < first + shard.images)
            for place, sample in zip(sorted(own), shards.read(shard, own) if own else (), strict=True):
                data[first + place] = sample.image or sample.error
            first += shard.images
        yield from (data[place] for place in places)


def of_folder(path: Path) -> Pictures:
    """Return the image files below a folder, by name. Raises BadInput if there are none, or two have one name."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower().lstrip(".") in ENDINGS and file.is_file())
    if not files:
        raise BadInput(f"examples {path}: no image in this folder: expected files such as KEY.png")
    found = keyed([(file, -1) for file in files])
    state = hashlib.sha256()
    for key, file, _ in found:
        state.update(f"{key} {hashlib.file_digest(file.open('rb'), 'sha256').hexdigest()}\n".encode())
    return Pictures([key for key, *_ in found], state.hexdigest(), Folder(found))


def of_shards(pattern: str) -> Pictures:
    """Return the images of shards. Raises BadInput if there is none, StorageError."""
    found = [shards.inspect(url) for url in shards.paths(Data(shards=[pattern]))]
    listed = [sample for shard in found for sample in shards.listed(shard)]
    state = hashlib.sha256("".join(f"{shard.sha256}\n" for shard in found).encode())
    sound = all(sample.status == "ok" for sample in listed)
    labels = [sample.label for sample in listed] if sound else None
    return Pictures([sample.key for sample in listed], state.hexdigest(), Tars(found), labels)
