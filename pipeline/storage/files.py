"""Define what every folder of files can do. A file is whole or absent. Names are relative, with parts joined by `/`."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, Protocol

PART = 8 << 20
"""Bytes of one piece of a large file: of one request to a bucket, and of what is in memory beside the file's own content."""

STALE_SECONDS = 3600.0
"""Age after which an unfinished file is left by a dead writer: a write takes seconds."""


class Entry(NamedTuple):
    """Describe a file of a listing; `modified` in seconds since 1970."""

    name: str
    bytes: int
    modified: float


Place = tuple[int, int]
"""Where some bytes of a file begin, and how many they are."""


class Pieces(Protocol):
    """Hold the content of a large file, of `size` bytes, to be gone through once for each try to write it.

    What going through it raises ends the write: the file is as it was before.
    """

    @property
    def size(self) -> int:
        """Return how many bytes the pieces have together."""
        ...

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the content, at most PART bytes at a time."""
        ...


class Files(Protocol):
    """Access a folder on a disk or a prefix of a bucket. Every method may raise StorageError."""

    url: str

    def ready(self) -> None:
        """Raise BadInput unless files can be written here and only one of two writers can create a file; leave no file."""
        ...

    def entry(self, name: str) -> Entry | None:
        """Return size and time of a file, or None if it does not exist."""
        ...

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        """Return the first `stop` bytes of a file (default: all), or None if it does not exist."""
        ...

    def open(self, name: str, size: int | None = None) -> BinaryIO:
        """Open a file to read and seek in, never whole in memory; a known `size` saves a request. Raises FileNotFoundError."""
        ...

    def parts(self, name: str, places: Sequence[Place]) -> list[bytes]:
        """Return the bytes at some places of a file, several at a time where each is a request; fewer where the file ends.

        Raises FileNotFoundError.
        """
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless it exists; return True to exactly one caller. The file is whole and durable, or absent."""
        ...

    def replace(self, name: str, data: bytes | Pieces) -> None:
        """Write a file over the old one; a reader sees the old or the new file, whole. Large ones come in pieces."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        ...

    def folders(self, folder: str) -> list[str]:
        """Return the folders in a folder, sorted. Names that begin with a dot are left out, here and in all listings."""
        ...

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in a folder, in any order: the fastest listing."""
        ...

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield the files in a folder with size and time, in any order."""
        ...

    def sweep(self) -> None:
        """Remove unfinished files of dead writers."""
        ...
