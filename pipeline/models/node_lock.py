"""Let one process of a node load a model before the others: what it read or downloaded is then in memory or on disk."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def first_on_node(what: str) -> Iterator[None]:
    """Wait while the first process of this user on this node that loads `what` does so; then all others do at once.

    The lock ends with its process, however that ends. Where no lock can be made, nothing waits: it saves reads, and decides
    nothing.
    """
    name = f"barrage-{os.getuid()}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock"
    with ExitStack() as held:
        with suppress(OSError):  # no folder for it, another user's file, or a file system without locks
            handle = os.open(Path(tempfile.gettempdir()) / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            held.callback(os.close, handle)
            _wait(handle)
        yield


def _wait(handle: int) -> None:
    """Take the lock of a file: alone if it is free, else, as soon as the first has ended, with all that waited."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(handle, fcntl.LOCK_SH)
