"""Files on a local disk or NFS: written aside, made durable, and then given their name."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import BadInput, StorageError
from pipeline.storage.files import AGED, Entry

ASIDE = ".aside"
"""The folder, in the root, of files that are being written: on the same file system, seen by no listing."""

_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have the quota raised",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EACCES: "check the permissions",
    errno.EROFS: "mount it writable",
    **dict.fromkeys((errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV),
                    "use a file system with hard links for all of the store, or a bucket by its URL"),
}  # fmt: skip


class Disk:
    """A folder; it need not exist yet."""

    def __init__(self, root: str | Path) -> None:
        self.url, self.root = str(root), Path(root)

    def ready(self) -> None:
        there = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        if not there.is_dir():
            raise BadInput(f"{self.root}: {there} is a file, expected a folder: give another path")
        if not os.access(there, os.W_OK | os.X_OK):
            raise BadInput(f"{self.root}: {there} can not be written to: give a folder that can, or change its permissions")

    def entry(self, name: str) -> Entry | None:
        with _refusing(self.root / name, "looked at"), suppress(FileNotFoundError, NotADirectoryError):
            found = (self.root / name).stat()
            return Entry(name, found.st_size, found.st_mtime)
        return None

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        path = self.root / name
        with _refusing(path, "read"), suppress(FileNotFoundError, NotADirectoryError), path.open("rb") as file:
            return file.read(-1 if stop is None else stop)
        return None

    def open(self, name: str, size: int | None = None) -> BinaryIO:
        return (self.root / name).open("rb")

    def create(self, name: str, data: bytes) -> bool:
        target = self.root / name
        with self._aside(target, data) as aside:
            try:
                os.link(aside, target)
            except FileExistsError:
                return aside.stat().st_nlink == 2  # over NFS, the answer to a first try can be lost: then the file is ours
            _sync(target.parent)
        return True

    def replace(self, name: str, data: bytes) -> None:
        target = self.root / name
        with self._aside(target, data) as aside:
            os.replace(aside, target)
            _sync(target.parent)

    def remove(self, name: str) -> None:
        with _refusing(self.root / name, "removed"), suppress(FileNotFoundError):
            (self.root / name).unlink()

    def folders(self, folder: str) -> list[str]:
        return sorted(_join(folder, found.name) for found in self._scan(folder) if found.is_dir())

    def names(self, folder: str) -> Iterator[str]:
        return (_join(folder, found.name) for found in self._scan(folder) if found.is_file())

    def entries(self, folder: str) -> Iterator[Entry]:
        for found in self._scan(folder):
            with suppress(FileNotFoundError):  # removed this moment
                if found.is_file():
                    yield Entry(_join(folder, found.name), found.stat().st_size, found.stat().st_mtime)

    def sweep(self) -> None:
        with _refusing(self.root, "swept"), suppress(FileNotFoundError), os.scandir(self.root / ASIDE) as found:
            now = self._now()
            for left in found:
                with suppress(FileNotFoundError):  # it was given its name this moment
                    if now - left.stat().st_mtime > AGED:
                        os.unlink(left)

    def _now(self) -> float:
        """The time by the clock that dates files: a server's own, or this machine's before it was set."""
        mark = self.root / ASIDE / uuid.uuid4().hex
        mark.touch()
        try:
            return mark.stat().st_mtime
        finally:
            mark.unlink()

    def _scan(self, folder: str) -> "Iterator[os.DirEntry[str]]":
        path = self.root / folder
        with _refusing(path, "listed"), suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as found:
            yield from (entry for entry in found if not entry.name.startswith("."))

    @contextmanager
    def _aside(self, target: Path, data: bytes) -> Iterator[Path]:
        """A durable file with the data, under a name that nobody looks for, gone afterwards."""
        aside = self.root / ASIDE / uuid.uuid4().hex
        with _refusing(target, "written"):
            try:
                _make(aside.parent)
                _make(target.parent)
                with aside.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield aside
            finally:
                with suppress(OSError):
                    aside.unlink(missing_ok=True)


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    """An error of the operating system as one line."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "mend the disk or its mount")
        raise StorageError(f"{path} can not be {what}: {error.strerror}; {remedy}, and run again") from error


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _make(folder: Path) -> None:
    """Makes a folder and those above it, durable as what goes into it."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
