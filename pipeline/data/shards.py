"""Find, inspect and read the WebDataset shards of a campaign."""

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from pipeline.config.campaign import Data
from pipeline.data.decoding import decode
from pipeline.data.samples import HashingStream, Sample, raw_samples, sample, samples
from pipeline.errors import BadInput, ShardUnusable, StorageError
from pipeline.parallel import map_ordered
from pipeline.storage import urls
from pipeline.storage.files import Entry

__all__ = ["INDEX", "Sample", "Shard", "decode", "glance", "imagined", "inspect", "name", "paths", "read"]

INDEX = "index.json"
"""File beside the shards, written by `barrage pack`: {file name: {sha256, bytes, images, labels}}."""


@dataclass(frozen=True)
class Shard:
    """Describe a shard as it was when it entered the campaign.

    `images` counts damaged samples too; `labels` are the smallest and the largest.
    """

    url: str
    sha256: str
    bytes: int
    images: int
    labels: tuple[int, int]

    @property
    def name(self) -> str:
        """Return the file's name without its ending, as units use it."""
        return name(self.url)


def name(url: str) -> str:
    """Return the name of the shard at a path or URL: the file's name without .tar."""
    return urls.split(url)[1].removesuffix(".tar")


def paths(data: Data) -> dict[str, int]:
    """Return {absolute path or URL: bytes} of a campaign's shards, in order.

    Raises BadInput for a pattern without a match, a missing shard, or two shards of one name; StorageError.
    """
    found: list[str] = []
    for pattern in data.shards:
        for url in braceexpand(pattern):
            matches = urls.expand(url)
            if not matches:
                raise BadInput(f"shards {pattern!r} match no file: check the pattern, or write shards with `barrage pack`")
            found += map(urls.absolute, matches)
    for file, count in Counter(urls.split(url)[1] for url in found).items():
        if count > 1:
            raise BadInput(f"two shards are called {file}: rename one, since rows refer to shards by name")
    return dict(zip(found, map_ordered(_size, found), strict=True))


def imagined(data: Data, images: int) -> dict[str, Shard]:
    """Return a campaign's shards by name without opening them, `images` spread evenly: to plan without the data."""
    urls = [url for pattern in data.shards for url in braceexpand(pattern)]
    counts = (images * (i + 1) // len(urls) - images * i // len(urls) for i in range(len(urls)))
    return {name(url): Shard(url, "", 0, count, (0, 0)) for url, count in zip(urls, counts, strict=True)}


def inspect(url: str | Path) -> Shard:
    """Return the description of a shard: from the index beside it, else by reading it once from end to end.

    Raises BadInput if the shard holds a key twice or differs from the index; StorageError.
    """
    url = urls.absolute(str(url))
    folder, file_name = urls.split(url)
    index = urls.at(folder).entry(INDEX)
    indexed = _index(folder, index).get(file_name) if index else None
    size = _size(url)
    if indexed and indexed["bytes"] == size:
        return Shard(url, indexed["sha256"], size, indexed["images"], tuple(indexed["labels"]))
    with urls.at(folder).open(file_name) as file:
        stream, keys, labels, count, damaged = HashingStream(file, url), set(), [], 0, False
        for raw in raw_samples(stream):
            damaged = raw["__key__"] is None
            if damaged:
                count = max(count + 1, indexed["images"] if indexed else 0)
                break
            image = sample(raw)
            if image.key in keys:
                raise BadInput(f"shard {url} holds the key {image.key} twice: give each sample a key of its own")
            keys.add(image.key)
            count += 1
            if image.status == "ok":
                labels.append(image.label)
    if indexed and not damaged:
        raise BadInput(f"shard {url} is not the one in its {INDEX}: restore it, or remove the index to accept it as it is")
    return Shard(url, stream.digest.hexdigest(), size, count, (min(labels, default=0), max(labels, default=0)))


def read(shard: Shard, wanted: Collection[int]) -> list[Sample]:
    """Return the samples at the positions `wanted` of a shard, in its order.

    Raises ShardUnusable if the shard is missing, out of reach, or has another SHA-256.
    """
    folder, file_name = urls.split(shard.url)
    try:
        with urls.at(folder).open(file_name, shard.bytes) as file:
            stream = HashingStream(file, shard.url)
            found = [image for i, image in enumerate(samples(stream, shard.images)) if i in wanted]
    except FileNotFoundError:
        raise ShardUnusable(f"shard {shard.url} can not be read: it is not there; restore it") from None
    except OSError as error:
        raise ShardUnusable(f"shard {shard.url} can not be read: {error.strerror}; repair the disk or its mount") from None
    except StorageError as error:
        raise ShardUnusable(str(error)) from None
    if stream.digest.hexdigest() != shard.sha256:
        raise ShardUnusable(
            f"shard {shard.url} has SHA-256 {stream.digest.hexdigest()}, planned was {shard.sha256}: restore it"
        )
    return found


def glance(shard: Shard, count: int) -> list[Sample]:
    """Return the first sound samples of a shard, `count` at most, without reading the rest; none if it can't be read.

    So its hash is not checked: this is for a first impression before a run, not for rows.
    """
    folder, file_name = urls.split(shard.url)
    try:
        with urls.at(folder).open(file_name, shard.bytes) as file:
            sound = (image for image in samples(HashingStream(file, shard.url), -1) if image.status == "ok")
            return list(islice(sound, count))
    except (OSError, StorageError, ShardUnusable, BadInput):
        return []


@lru_cache(maxsize=8)
def _index(folder: str, entry: Entry) -> dict[str, Any]:
    """Return the index of a folder, parsed once for all its shards; `entry` names its version."""
    try:
        return dict(json.loads(urls.at(folder).read(entry.name) or b"{}"))
    except ValueError:
        raise BadInput(f"{urls.join(folder, INDEX)} is damaged: restore it, or remove it to have the shards read") from None


def _size(url: str) -> int:
    """Return the bytes of a shard. Raises BadInput if it does not exist."""
    folder, file_name = urls.split(url)
    entry = urls.at(folder, urls.ANSWER_SECONDS).entry(file_name)
    if entry is None:
        raise BadInput(f"shard {url} does not exist: check the pattern, or write shards with `barrage pack`")
    return entry.bytes
