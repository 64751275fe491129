"""Read a shard's file: hashed as it is on the disk, unfolded if it is gzipped, forwards only, in little memory."""

import gzip
import hashlib
from typing import Protocol

from pipeline.errors import ShardUnusable, StorageError

CHUNK = 1 << 20
"""Bytes that are passed over at a time."""

UNFOLDED_FREE, UNFOLDED_TIMES = 64 << 20, 100
"""A gzipped shard may unfold to this number of bytes, and this number of times its own size more; real ones reach twenty."""

UNFOLDED_PIECE = 8192
"""Bytes that are unfolded at a time, whatever was asked for: a damaged place is always the same, and little ahead is lost."""

_OTHER = {
    b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress",
    b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7-Zip",
}  # fmt: skip
"""First bytes of files that are compressed in another way."""


class Readable(Protocol):
    """Give bytes in order."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next `size` bytes, fewer at the end; default: all."""


class HashingStream:
    """Read a stream while computing the SHA-256 and the number of the bytes read."""

    def __init__(self, stream: Readable, url: str) -> None:
        self.url, self.stream, self.digest, self.bytes = url, stream, hashlib.sha256(), 0

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
        return data

    def read_to_end(self) -> None:
        """Read what is left, so that the hash is that of the whole file."""
        while self.read(CHUNK):
            pass


class Forward:
    """Give the bytes of a shard as a file that can only go forwards, and bound what is read between two calls of `allow`."""

    def __init__(self, stream: HashingStream) -> None:
        self._stream, self._at, self._ahead, self._allowed = stream, 0, b"", 0
        self._gzip: gzip.GzipFile | None = None
        start = b""
        while len(start) < 6 and (more := stream.read(6 - len(start))):
            start += more
        for magic, name in _OTHER.items():
            if start.startswith(magic):
                raise ValueError(f"it is compressed by {name}: unpack it, expected a tar, plain or gzipped")
        if start.startswith(b"\x1f\x8b"):
            self._gzip = gzip.GzipFile(fileobj=_Begun(start, stream), mode="rb")  # type: ignore[call-overload]
        else:
            self._ahead = start

    @property
    def folded(self) -> bool:
        """Return whether the file is gzipped, so that no place in the tar is a place in the file."""
        return self._gzip is not None

    def allow(self, size: int) -> None:
        """Allow `read` to return `size` bytes from here on."""
        self._allowed = size

    def tell(self) -> int:
        """Return how many bytes were read or passed over."""
        return self._at

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end. Raises ValueError beyond what is allowed."""
        if size > self._allowed:
            raise ValueError(f"a header of more than {self._at + size} bytes, expected few")
        self._allowed -= size
        parts = []
        while size > 0 and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def seek(self, to: int) -> None:
        """Pass over the bytes before `to`. Raises ValueError if it lies behind, EOFError if the file ends before."""
        if to < self._at:
            raise ValueError("a member begins before the one ahead of it ends")
        while self._at < to:
            if not self._some(min(to - self._at, CHUNK)):
                raise EOFError("unexpected end of data")

    def pass_zeros(self, block: int) -> int:
        """Pass over whole blocks of zeros, and return how many bytes they had. Does not read on after another block."""
        passed = 0
        while data := self._some(CHUNK - self._at % block):
            while len(data) % block and (more := self._some(block - len(data) % block)):
                data += more
            zeros = (len(data) - len(data.lstrip(b"\0"))) // block * block
            passed += zeros
            if zeros < len(data):
                self._ahead, self._at = data[zeros:] + self._ahead, self._at - (len(data) - zeros)
                break
        return passed

    def _some(self, most: int) -> bytes:
        """Return the next bytes, at least one but at the end. Raises ValueError for a file that unfolds without bound."""
        if self._gzip and not self._ahead:
            self._ahead = self._gzip.read1(UNFOLDED_PIECE)
        if self._gzip or self._ahead:
            data, self._ahead = self._ahead[:most], self._ahead[most:]
        else:
            data = self._stream.read(most)
        self._at += len(data)
        if self._gzip and self._at > UNFOLDED_FREE + UNFOLDED_TIMES * self._stream.bytes:
            raise ValueError(f"it unfolds to more than {UNFOLDED_TIMES} times its size")
        return data


class _Begun:
    """Give a stream whose first bytes were read already."""

    def __init__(self, start: bytes, stream: HashingStream) -> None:
        self._start, self._stream = start, stream

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if not self._start:
            return self._stream.read(size)
        data, self._start = self._start[:size], self._start[size:] if size >= 0 else b""
        return data
