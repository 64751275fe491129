"""What a folder of files can do, wherever it is. A file is whole or not there; its name is relative, parts joined by `/`."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

AGED = 3600.0
"""Seconds after which what a writer left aside belongs to nobody: a write takes seconds."""


class Entry(NamedTuple):
    """A file of a listing; `modified` in seconds since 1970."""

    name: str
    bytes: int
    modified: float


class Files(Protocol):
    """A folder on a disk or a prefix of a bucket. Every method may raise StorageError."""

    url: str

    def ready(self) -> None:
        """Raises BadInput unless files can be written here, and only one of two writers can create one. Leaves nothing."""
        ...

    def entry(self, name: str) -> Entry | None:
        """Size and time of a file, or None if it is not there."""
        ...

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        """The first `stop` bytes of a file, or all, or None if it is not there."""
        ...

    def open(self, name: str, size: int | None = None) -> BinaryIO:
        """A file to read and seek in, never whole in memory; `size` if known saves a request. Raises FileNotFoundError."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Writes a file unless it is there already; True for one caller only. Whole, durable, or absent."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Writes a file in the place of what is there; a reader sees the old one or the new one, whole."""
        ...

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""
        ...

    def folders(self, folder: str) -> list[str]:
        """The folders in a folder, in order; hidden ones are left out, as everywhere."""
        ...

    def names(self, folder: str) -> Iterator[str]:
        """The files in a folder, in any order: the quickest way to know what is there."""
        ...

    def entries(self, folder: str) -> Iterator[Entry]:
        """The files in a folder, in any order."""
        ...

    def sweep(self) -> None:
        """Removes what dead writers left aside."""
        ...
