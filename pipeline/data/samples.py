"""Read the samples of one tar: the only module that opens shards. A damaged sample becomes a sample with a reason."""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from webdataset.tariterators import group_by_keys

from pipeline.errors import BadInput, ShardUnusable, StorageError

MAX_BYTES = 64 << 20
"""Larger files of a shard are refused before they are read."""

_TAR_END = b"\0" * 1024
"""The last bytes of every complete tar."""


@dataclass(frozen=True)
class Sample:
    """Hold one image of a shard: encoded bytes and label, or why it cannot be attacked.

    `status` is "ok", "bad_shard", "bad_image" or "bad_label"; `error` says in words what is wrong.
    """

    key: str
    image: bytes = b""
    label: int = -1
    status: str = "ok"
    error: str = ""


class HashingStream:
    """Read a stream while computing the SHA-256 and the number of the bytes read."""

    def __init__(self, stream: BinaryIO, url: str) -> None:
        self.url, self.stream, self.digest, self.bytes, self._tail = url, stream, hashlib.sha256(), 0, b""

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises ShardUnusable if the file does not exist, StorageError if it cannot be read."""
        try:
            data = self.stream.read(size)
        except FileNotFoundError:
            raise ShardUnusable(f"shard {self.url} can not be read: it is not there") from None
        except OSError as error:
            raise StorageError(f"shard {self.url} can not be read: {error.strerror}; repair the disk or its mount") from error
        self.digest.update(data)
        self.bytes += len(data)
        self._tail = (self._tail + data[-len(_TAR_END) :])[-len(_TAR_END) :]
        return data

    def read_to_end(self) -> None:
        """Read what is left, so that the hash is that of the whole file."""
        while self.read(1 << 20):
            pass

    @property
    def ends_like_tar(self) -> bool:
        """Return whether the last bytes read are the end of a complete tar."""
        return self._tail == _TAR_END


def raw_samples(stream: HashingStream) -> Iterator[dict[str, Any]]:
    """Yield the samples of a tar as {file ending: bytes}, and after a damaged place one {"__key__": None, "error": reason}.

    Raises BadInput if a key occurs twice, and what reading the stream raises.
    """

    def reraise(error: Exception) -> bool:
        raise error

    try:
        yield from group_by_keys(_members(stream), handler=reraise)
        stream.read_to_end()
        if not stream.ends_like_tar:
            raise EOFError("no end-of-archive marker")
    except (StorageError, ShardUnusable) as error:  # the shard is out of reach: its images may be good
        raise type(error)(error.args[0]) from None  # the tar reader appends to the arguments
    except Exception as error:
        if isinstance(error, ValueError) and "duplicate" in str(error):
            raise BadInput(
                f"shard {stream.url} holds a key twice: {error.args[0]}; give each sample a key of its own"
            ) from None
        stream.read_to_end()
        yield {"__key__": None, "error": f"the shard is truncated: {str(error.args[0] if error.args else error)[:120]}"}


def _members(stream: HashingStream) -> Iterator[dict[str, Any]]:
    """Yield the files of a tar as `group_by_keys` expects them; of a file that is too large `data` is only its size."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            if member.isreg() and not re.match(r"__[^/]*__($|/)", member.name):
                file = tar.extractfile(member) if member.size <= MAX_BYTES else None
                yield {"fname": member.name, "data": file.read() if file else member.size, "__url__": stream.url}
            tar.members = []  # otherwise the tar keeps every member in memory


def sample(raw: dict[str, Any]) -> Sample:
    """Return a raw sample with its status; the image is not decoded yet."""
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


def samples(stream: HashingStream, expected: int) -> Iterator[Sample]:
    """Yield every sample in order. A damaged tar ends with samples of status "bad_shard", up to `expected`, at least one.

    Raises ShardUnusable if a complete tar does not hold `expected` samples.
    """
    count = 0
    for raw in raw_samples(stream):
        if raw["__key__"] is None:
            for position in range(count, max(expected, count + 1)):
                yield Sample(f"{Path(stream.url).name}#{position}", status="bad_shard", error=raw["error"])
            return
        count += 1
        yield sample(raw)
    if count != expected and expected >= 0:
        raise ShardUnusable(f"shard {stream.url} holds {count} samples, expected {expected}")
