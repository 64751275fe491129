"""WebDataset shards in: the only file that reads tars. A damaged sample is a sample with a fault, never a missing one."""

import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from braceexpand import braceexpand
from PIL import Image
from webdataset.tariterators import group_by_keys

from pipeline.config.campaign import Data
from pipeline.errors import BadInput, ShardUnusable, StorageError
from pipeline.parallel import map_ordered
from pipeline.storage import urls
from pipeline.storage.files import Entry

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded, or resized to that."""

MAX_BYTES = 64 << 20
"""Larger files of a shard are refused before they are read."""

INDEX = "index.json"
"""Beside the shards: {file name: {sha256, bytes, images, labels}}, written by `barrage pack`."""

_END = b"\0" * 1024
"""The end of every whole tar."""


@dataclass(frozen=True)
class Shard:
    """A shard as the campaign first saw it. `images` counts damaged samples too; `labels` are the smallest and largest."""

    url: str
    sha256: str
    bytes: int
    images: int
    labels: tuple[int, int]

    @property
    def name(self) -> str:
        """The file's name without its ending, as units use it."""
        return name(self.url)


@dataclass(frozen=True)
class Sample:
    """One image as it lies in its shard: encoded bytes and label, or why it can not be attacked.

    `status` is "ok", "bad_shard", "bad_image" or "bad_label"; `error` says in words what is wrong.
    """

    key: str
    image: bytes = b""
    label: int = -1
    status: str = "ok"
    error: str = ""


def name(url: str) -> str:
    """What a shard at a path or URL is called."""
    return urls.split(url)[1].removesuffix(".tar")


class _Hashing:
    """A stream that hashes what is read of it, and remembers its end."""

    def __init__(self, stream: BinaryIO, url: str) -> None:
        self.url, self.stream, self.digest, self.bytes, self.tail = url, stream, hashlib.sha256(), 0, b""

    def read(self, size: int = -1) -> bytes:
        try:
            data = self.stream.read(size)
        except FileNotFoundError:
            raise ShardUnusable(f"shard {self.url} can not be read: it is not there") from None
        except OSError as error:
            raise StorageError(f"shard {self.url} can not be read: {error.strerror}; mend the disk or its mount") from error
        self.digest.update(data)
        self.bytes += len(data)
        self.tail = (self.tail + data[-len(_END) :])[-len(_END) :]
        return data


def paths(data: Data) -> dict[str, int]:
    """The shard files of a campaign, as absolute paths or URLs, and their bytes, in order.

    Raises BadInput for a pattern that matches nothing and for a missing shard, and StorageError.
    """
    found: list[str] = []
    for pattern in data.shards:
        for name in braceexpand(pattern):
            matches = urls.expand(name)
            if not matches:
                raise BadInput(f"shards {pattern!r} match no file: check the pattern, or write shards with `barrage pack`")
            found += map(urls.absolute, matches)
    for name, count in Counter(urls.split(url)[1] for url in found).items():
        if count > 1:
            raise BadInput(f"two shards are called {name}: give shards names of their own, rows refer to them")
    return dict(zip(found, map_ordered(_size, found), strict=True))


def imagined(data: Data, images: int) -> dict[str, Shard]:
    """The shards of a campaign by name as if they were there, `images` spread evenly: for plans of data that are elsewhere."""
    urls = [url for pattern in data.shards for url in braceexpand(pattern)]
    counts = (images * (i + 1) // len(urls) - images * i // len(urls) for i in range(len(urls)))
    return {name(url): Shard(url, "", 0, count, (0, 0)) for url, count in zip(urls, counts, strict=True)}


def _size(url: str) -> int:
    folder, name = urls.split(url)
    entry = urls.at(folder, urls.ANSWER_SECONDS).entry(name)
    if entry is None:
        raise BadInput(f"shard {url} does not exist: check the pattern, or write shards with `barrage pack`")
    return entry.bytes


def _members(stream: Any, url: str) -> Iterator[dict[str, Any]]:
    """The files of a plain tar as `group_by_keys` wants them; one that is too large is not read, its `data` is its size."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.isreg() and not re.match(r"__[^/]*__($|/)", member.name):
                file = tar.extractfile(member) if member.size <= MAX_BYTES else None
                yield {"fname": member.name, "data": file.read() if file else member.size, "__url__": url}
            tar.members = []  # type: ignore[attr-defined]  # else it keeps them all


def _raw(stream: Any, url: str) -> Iterator[dict[str, Any]]:
    """The samples of a tar, then one with only a fault where the tar breaks off."""

    def reraise(error: Exception) -> bool:
        raise error

    try:
        yield from group_by_keys(_members(stream, url), handler=reraise)
        while stream.read(1 << 20):
            pass
        if stream.tail != _END:
            raise EOFError("no end-of-archive marker")
    except (StorageError, ShardUnusable) as error:  # the shard is out of reach, which says nothing of its images
        raise type(error)(error.args[0]) from None  # the tar reader adds to the arguments
    except Exception as error:
        if isinstance(error, ValueError) and "duplicate" in str(error):
            raise BadInput(f"shard {url} holds a key twice: {error.args[0]}; give each sample a key of its own") from None
        while stream.read(1 << 20):
            pass
        yield {"__key__": None, "error": f"the shard is truncated: {str(error.args[0] if error.args else error)[:120]}"}


def _sample(raw: dict[str, Any]) -> Sample:
    """A sample with what is wrong with it; the image is decoded later."""
    key = str(raw["__key__"])
    image = next((raw[kind] for kind in ("jpg", "jpeg", "png") if kind in raw), None)
    if image is None:
        return Sample(key, status="bad_image", error="no image: expected a .jpg or .png member")
    if isinstance(image, int):
        return Sample(key, status="bad_image", error=f"{image} bytes, more than {MAX_BYTES}")
    if not isinstance(raw.get("cls"), bytes):
        return Sample(key, status="bad_label", error="no label: expected a small .cls member")
    try:
        label = int(raw["cls"].decode())
        if label < 0:
            raise ValueError
    except (ValueError, UnicodeDecodeError):
        return Sample(key, status="bad_label", error=f"{raw['cls'][:20]!r} is no class number")
    return Sample(key, image, label)


def _samples(stream: Any, url: str, expected: int) -> Iterator[Sample]:
    """Every sample in order; a broken tar ends with faults up to the `expected` count, and at least one."""
    count = 0
    for raw in _raw(stream, url):
        if raw["__key__"] is None:
            for place in range(count, max(expected, count + 1)):
                yield Sample(f"{Path(url).name}#{place}", status="bad_shard", error=raw["error"])
            return
        count += 1
        yield _sample(raw)
    if count != expected and expected >= 0:
        raise ShardUnusable(f"shard {url} holds {count} samples, expected {expected}")


@lru_cache(maxsize=8)
def _index(folder: str, entry: Entry) -> dict[str, Any]:
    """The index of a folder, parsed once for all its shards; `entry` says which version of it."""
    try:
        return dict(json.loads(urls.at(folder).read(entry.name) or b"{}"))
    except ValueError:
        raise BadInput(f"{urls.join(folder, INDEX)} is damaged: restore it, or remove it to have the shards read") from None


def inspect(url: str | Path) -> Shard:
    """A shard at first sight: read once from end to end, or taken from the index beside it. Raises BadInput, StorageError."""
    url = urls.absolute(str(url))
    folder, name = urls.split(url)
    index = urls.at(folder).entry(INDEX)
    known = _index(folder, index).get(name) if index else None
    size = _size(url)
    if known and known["bytes"] == size:
        return Shard(url, known["sha256"], size, known["images"], tuple(known["labels"]))
    with urls.at(folder).open(name) as file:
        stream, seen, labels, count, broken = _Hashing(file, url), set(), [], 0, False
        for raw in _raw(stream, url):
            broken = raw["__key__"] is None
            if broken:
                count = max(count + 1, known["images"] if known else 0)
                break
            sample = _sample(raw)
            if sample.key in seen:
                raise BadInput(f"shard {url} holds the key {sample.key} twice: give each sample a key of its own")
            seen.add(sample.key)
            count += 1
            if sample.status == "ok":
                labels.append(sample.label)
    if known and not broken:
        raise BadInput(f"shard {url} is not the one in its {INDEX}: restore it, or remove the index to accept it as it is")
    return Shard(url, stream.digest.hexdigest(), size, count, (min(labels, default=0), max(labels, default=0)))


def read(shard: Shard, wanted: Collection[int]) -> list[Sample]:
    """The samples at some places of a shard, in its order. Raises ShardUnusable."""
    folder, name = urls.split(shard.url)
    try:
        with urls.at(folder).open(name, shard.bytes) as file:
            stream = _Hashing(file, shard.url)
            found = [s for i, s in enumerate(_samples(stream, shard.url, shard.images)) if i in wanted]
    except FileNotFoundError:
        raise ShardUnusable(f"shard {shard.url} can not be read: it is not there; restore it") from None
    except OSError as error:
        raise ShardUnusable(f"shard {shard.url} can not be read: {error.strerror}; mend the disk or its mount") from None
    except StorageError as error:
        raise ShardUnusable(str(error)) from None
    if stream.digest.hexdigest() != shard.sha256:
        raise ShardUnusable(
            f"shard {shard.url} has SHA-256 {stream.digest.hexdigest()}, planned was {shard.sha256}: restore it"
        )
    return found


def decode(image: bytes, resize: int | None, crop: int) -> np.ndarray[Any, Any]:
    """Encoded bytes to (3, crop, crop) uint8: the shorter side to `resize` (bicubic), the square in the centre cut out.

    Raises ValueError if the bytes are no whole image, or a larger or smaller one than can be used.
    """
    try:
        picture: Image.Image = Image.open(io.BytesIO(image), formats=("JPEG", "PNG"))
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MAX_PIXELS}")
        picture = picture.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
    if resize is not None:
        scale = resize / min(picture.size)
        size = (max(resize, round(picture.width * scale)), max(resize, round(picture.height * scale)))
        if size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"{size[0]} x {size[1]} pixels after resizing, more than {MAX_PIXELS}: too long for its width")
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = (picture.width - crop) // 2, (picture.height - crop) // 2
    if left < 0 or top < 0:
        raise ValueError(f"{picture.width} x {picture.height} pixels, smaller than the crop of {crop}")
    return np.asarray(picture.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1).copy()
