"""Start a run as a process of its own, which outlives the terminal; a lock on its pid file allows one per store."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadInput


@dataclass(frozen=True)
class Detached:
    """Hold the id of a process that was started, and the file that its output goes to."""

    pid: int
    log: Path


def files(store: str) -> tuple[Path, Path]:
    """Return the log file and the pid file of a store's runs: beside a local store, else in the user's state folder."""
    if "://" in store:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
        name = store.rstrip("/").rpartition("/")[2]
        base = state / "barrage" / f"{name}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"
    else:
        base = Path(store.rstrip("/")).absolute()
    return base.with_name(f"{base.name}.log"), base.with_name(f"{base.name}.pid")


def detach(arguments: Sequence[str], store: str) -> Detached:
    """Start `barrage` with these arguments. Raises BadInput if a detached process works on this store already.

    The process holds a lock on its pid file until it ends, even if it is killed. So an old pid file never stops a new run.
    """
    log, pid = files(store)
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(pid, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = pid.read_text().strip()
            raise BadInput(f"store {store}: process {other} works on it already: follow it in {log} or stop it") from None
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[handle],
            )
        os.ftruncate(handle, 0)
        os.write(handle, f"{process.pid}\n".encode())
    finally:
        os.close(handle)
    return Detached(process.pid, log)
