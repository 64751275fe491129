"""Give the Ray that a run starts a folder of its own for sockets and logs, and remove the folders that dead runs left.

Ray removes nothing: each start leaves some hundred kilobytes for ever. A run that ends removes its folder; that of one that was
killed goes at the next start. The lock on the file beside a folder ends with its process, however that ends.
"""

import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ENDING = ".barrage"
"""What follows a folder's name in that of its lock file."""

DIGITS = 4
"""Of a folder's name: short, as paths of sockets have little room."""

TRIES = 100
"""Names to try, until the file system counts as one without locks."""


@dataclass(frozen=True)
class Scratch:
    """Hold a folder that this process alone uses; `handle` is that of its lock file."""

    folder: Path
    handle: int

    @classmethod
    def made(cls, parent: Path) -> "Scratch | None":
        """Make a folder in `parent` and remove those of dead processes; None where files cannot be locked."""
        _sweep(parent)
        for _ in range(TRIES):
            folder = parent / secrets.token_hex(DIGITS // 2)
            handle = _locked(_lock_of(folder), os.O_CREAT | os.O_EXCL)
            if handle is None:
                continue
            with suppress(FileExistsError):
                folder.mkdir()
                return cls(folder, handle)
            _unlocked(folder, handle)
        return None

    def remove(self) -> None:
        """Remove the folder, once nothing works in it; what cannot be removed goes at the next start."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            os.close(self.handle)
        else:
            _unlocked(self.folder, self.handle)


def _sweep(parent: Path) -> None:
    """Remove the folders whose lock no process holds."""
    for lock in parent.glob(f"*{ENDING}"):
        handle = _locked(lock, 0)
        if handle is not None:
            Scratch(lock.with_suffix(""), handle).remove()


def _locked(lock: Path, flags: int) -> int | None:
    """Return the handle of a lock file of this user that is now held; None if it cannot be had."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(handle)
        if mine.st_uid == os.getuid() and os.path.samestat(mine, lock.stat(follow_symlinks=False)):
            return handle  # else another process removed the file since it was opened
    except BlockingIOError:
        pass
    except OSError:  # a file system without locks
        if flags & os.O_CREAT:
            lock.unlink(missing_ok=True)
    os.close(handle)
    return None


def _unlocked(folder: Path, handle: int) -> None:
    """Remove a lock file while its lock is held, then let go of it."""
    _lock_of(folder).unlink(missing_ok=True)
    os.close(handle)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ENDING)
