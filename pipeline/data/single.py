"""Read single images of a shard: it is read once from end to end, hashed and listed; then each image alone, by its place."""

import io
import zlib
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from pipeline.data import samples, shards
from pipeline.data.samples import Sample
from pipeline.data.shards import Shard
from pipeline.data.sources import kinds
from pipeline.data.tars.stream import Forward, HashingStream
from pipeline.errors import ShardUnusable
from pipeline.storage import urls
from pipeline.storage.files import Entry


class Listing(NamedTuple):
    """Hold the samples of a shard by key, without their images; of a `folded` one, no place is a place in its file."""

    samples: dict[str, Sample]
    folded: bool


def version(shard: Shard) -> Entry | int:
    """Return what changes when the file of a shard does: its size and time; of images that lie in folders, their bytes.

    Raises ShardUnusable if the shard is missing, out of reach, or has another size than planned.
    """
    kind, (folder, name) = kinds.of(shard.url), urls.split(shard.url)
    with shards.usable(shard.url):
        if kind.size is not kinds.size_of_file:
            found: Entry | int | None = kind.size(shard.url, shard.classes)
        else:
            found = urls.at(folder, urls.ANSWER_SECONDS).entry(name)
        if found is None:
            raise FileNotFoundError(shard.url)
    size = found if isinstance(found, int) else found.bytes
    if size != shard.bytes:
        raise ShardUnusable(f"shard {shard.url} has {size} bytes, planned were {shard.bytes}: restore it")
    return found


def listing(shard: Shard) -> Listing:
    """Return the samples of a shard, from one pass over it. Raises ShardUnusable as `shards.read` does."""
    with shards.usable(shard.url):
        found = samples.listed(lambda: shards.opened(shard.url, shard.bytes, shard.classes), shard.images)
    shards.as_planned(shard, found)
    return Listing({sample.key: sample for sample in found.samples}, found.folded)


def image(shard: Shard, sample: Sample, folded: bool) -> bytes:
    """Return the bytes of the image of a listed sample: of a plain tar only these are read, of other kinds what precedes them.

    Raises ShardUnusable if the shard is missing, out of reach, or ends before.
    """
    assert sample.at, "a sample without an image has no place"
    begin, size = sample.at
    with shards.usable(shard.url), kinds.of(shard.url).opened(shard.url, shard.bytes, shard.classes) as file:
        if not folded and isinstance(file, io.IOBase) and file.seekable():
            data = part(file, begin, size)  # type: ignore[arg-type]
        else:
            data = b""
            with suppress(EOFError, zlib.error):
                forward = Forward(HashingStream(file, shard.url))
                forward.seek(begin)
                forward.allow(size)
                data = forward.read(size)
    if len(data) < size:
        raise ShardUnusable(f"shard {shard.url} ends before image {sample.key}: it changed while it was read; restore it")
    return data


def part(file: BinaryIO, begin: int, size: int) -> bytes:
    """Return `size` bytes of an open file from `begin`, fewer at its end, and read no more than these."""
    raw = file.raw if isinstance(file, io.BufferedReader) else file  # its buffer would fill itself: of a bucket, megabytes
    raw.seek(begin)
    parts = list[bytes]()
    while size > 0 and (data := raw.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)
