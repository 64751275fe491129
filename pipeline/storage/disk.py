"""Store files on a local disk or NFS: write a temporary file, make it durable, then give it its name."""

import errno
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import BadInput, StorageError
from pipeline.storage.files import STALE_SECONDS, Entry, Pieces, Place

TEMPORARY = ".aside"
"""Folder for unfinished files, in the root: on the same file system, and hidden from listings."""

_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have the quota raised",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EACCES: "check the permissions",
    errno.EROFS: "mount it writable",
    **dict.fromkeys((errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV),
                    "put the whole store on one file system with hard links, or in a bucket"),
}  # fmt: skip


class Disk:
    """Access a folder, which need not exist yet."""

    def __init__(self, root: str | Path) -> None:
        self.url, self.root = str(root), Path(root)

    def ready(self) -> None:
        existing = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise BadInput(f"{self.root}: {existing} is a file, expected a folder: give another path")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise BadInput(f"{self.root}: {existing} can not be written to: give another folder, or change its permissions")

    def entry(self, name: str) -> Entry | None:
        with _as_storage_error(self.root / name, "examined"), suppress(FileNotFoundError, NotADirectoryError):
            status = (self.root / name).stat()
            return Entry(name, status.st_size, status.st_mtime)
        return None

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        path = self.root / name
        with _as_storage_error(path, "read"), suppress(FileNotFoundError, NotADirectoryError), path.open("rb") as file:
            return file.read(-1 if stop is None else stop)
        return None

    def open(self, name: str, size: int | None = None) -> BinaryIO:
        return (self.root / name).open("rb")

    def parts(self, name: str, places: Sequence[Place]) -> list[bytes]:
        with (self.root / name).open("rb", buffering=0) as file:
            return [os.pread(file.fileno(), size, begin) for begin, size in places]

    def create(self, name: str, data: bytes) -> bool:
        target = self.root / name
        with self._temporary(target, (data,)) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return temporary.stat().st_nlink == 2  # NFS may lose the answer to a first link: then the target is this file
            _sync(target.parent)
        return True

    def replace(self, name: str, data: bytes | Pieces) -> None:
        target = self.root / name
        with self._temporary(target, (data,) if isinstance(data, bytes) else data) as temporary:
            os.replace(temporary, target)
            _sync(target.parent)

    def remove(self, name: str) -> None:
        with _as_storage_error(self.root / name, "removed"), suppress(FileNotFoundError):
            (self.root / name).unlink()

    def folders(self, folder: str) -> list[str]:
        return sorted(_join(folder, entry.name) for entry in self._scan(folder) if entry.is_dir())

    def names(self, folder: str) -> Iterator[str]:
        return (_join(folder, entry.name) for entry in self._scan(folder) if entry.is_file())

    def entries(self, folder: str) -> Iterator[Entry]:
        for entry in self._scan(folder):
            with suppress(FileNotFoundError):  # removed during the listing
                if entry.is_file():
                    yield Entry(_join(folder, entry.name), entry.stat().st_size, entry.stat().st_mtime)

    def sweep(self) -> None:
        with _as_storage_error(self.root, "swept"), suppress(FileNotFoundError), os.scandir(self.root / TEMPORARY) as files:
            now = self._now()
            for file in files:
                with suppress(FileNotFoundError):  # it was finished in the meantime
                    if now - file.stat().st_mtime > STALE_SECONDS:
                        os.unlink(file)

    def _now(self) -> float:
        """Return the time by the clock that dates files, in seconds since 1970. On NFS it is the clock of the server."""
        mark = self.root / TEMPORARY / uuid.uuid4().hex
        mark.touch()
        try:
            return mark.stat().st_mtime
        finally:
            mark.unlink()

    def _scan(self, folder: str) -> "Iterator[os.DirEntry[str]]":
        """Yield what a folder holds, without hidden names; nothing if it does not exist."""
        path = self.root / folder
        with _as_storage_error(path, "listed"), suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))

    @contextmanager
    def _temporary(self, target: Path, data: Iterable[bytes | memoryview]) -> Iterator[Path]:
        """Write the pieces of `data` to a durable temporary file for `target`; remove it at the end."""
        temporary = self.root / TEMPORARY / uuid.uuid4().hex
        with _as_storage_error(target, "written"):
            try:
                _make_folder(temporary.parent)
                _make_folder(target.parent)
                with temporary.open("wb") as file:
                    file.writelines(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)


@contextmanager
def _as_storage_error(path: Path, action: str) -> Iterator[None]:
    """Turn an error of the operating system into a StorageError of one line; `action` is a participle, such as "read"."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "repair the disk or its mount")
        raise StorageError(f"{path} can not be {action}: {error.strerror}; {remedy}, and run again") from error


def _join(folder: str, name: str) -> str:
    """Return the name of a file in a folder, relative to the root."""
    return f"{folder}/{name}" if folder else name


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, as durable as the files in it."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the entries of a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
