"""Record what a campaign holds of its machine: memory, handles and threads of each process, bytes and files of its folders.

A record is a folder of CSV files that only grow, so it goes on where it stopped:

processes.csv   a line for each living process of each sample
folders.csv     a line for each folder of each sample
strikes.csv     a line for each fault that struck, and for each run that ended
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.processes import family

SECONDS = 10.0
"""Between two samples."""

PROCESSES = "at,role,pid,started,resident,shared,handles,threads"
"""`at` is in seconds since 1970; `started` tells processes of one id apart; `resident` and its part `shared` are bytes."""

FOLDERS = "at,folder,bytes,entries"
"""`entries` counts files, and for Ray's sessions their folders."""

STRIKES = "at,number,what,code"
"""`code` is the exit code of the run that the strike ended, if it ended one."""

ROLES = {
    " -m pipeline run ": "driver",
    "ray::Actor": "worker",
    "ray::": "other process of Ray",
    "gcs_server": "GCS of Ray",
    "raylet/raylet": "raylet of Ray",
    "/ray/": "other process of Ray",
    "pipeline.data.guarded": "decoder",
}
"""{part of a command line: what the process is}; the first part that is found tells."""


def role(line: str) -> str:
    """Return what a process is, from its command line."""
    return next((name for part, name in ROLES.items() if part in line), "other")


def process(pid: int) -> tuple[int, int, int, int, int] | None:
    """Return (start, resident bytes, shared bytes, handles, threads) of a process, or None if it has ended.

    start   in ticks since the machine's start
    shared  memory that Ray's object store takes, as far as this process touched it
    """
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        start = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        handles = len(os.listdir(f"/proc/{pid}/fd"))
        resident, shared = (1024 * int(fields[name].split()[0]) for name in ("VmRSS", "RssShmem"))
        return start, resident, shared, handles, int(fields["Threads"])
    except (OSError, KeyError, IndexError):  # a zombie has no memory
        return None


def content(folder: Path, part: str = "") -> tuple[int, int]:
    """Return bytes and number of the files below a folder, or of those of them that have `part` in their path."""
    sizes = []
    for parent, _, names in os.walk(folder):
        if part in f"{parent}/":
            for name in names:
                with suppress(OSError):  # removed meanwhile
                    sizes.append(os.lstat(os.path.join(parent, name)).st_size)
    return sum(sizes), len(sizes)


def folders(store: Path, ray: Path, temporary: Path) -> dict[str, tuple[int, int]]:
    """Return bytes and entries of all folders that a campaign writes to."""
    rows, store_all, sessions = content(store / "results"), content(store), content(ray)
    return {
        "rows": rows,
        "store without rows": (store_all[0] - rows[0], store_all[1] - rows[1]),
        "logs of Ray": content(ray, "/logs/"),
        "sessions of Ray": (sessions[0], len([*ray.rglob("session_2*")])),
        "temporary files": content(temporary),
    }


class Record:
    """Append samples to the record in `folder`, from a thread of its own while used as a context."""

    def __init__(self, folder: Path, look: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        self.folder, self._look, self._closed = folder, look, threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        for name, head in (("processes", PROCESSES), ("folders", FOLDERS), ("strikes", STRIKES)):
            if not self.path(name).exists():
                self.path(name).write_text(head + "\n")

    def __enter__(self) -> "Record":
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._thread.join()

    def path(self, name: str) -> Path:
        """Return the file of this name."""
        return self.folder / f"{name}.csv"

    @property
    def strikes(self) -> int:
        """Return how many strikes are in the record."""
        return len(self.path("strikes").read_text().splitlines()) - 1

    def strike(self, what: str, code: int | None) -> None:
        """Add a line on what struck."""
        self._add("strikes", [f"{time.time():.1f},{self.strikes},{what},{'' if code is None else code}"])

    def _sample(self) -> None:
        while not self._closed.wait(SECONDS):
            at = f"{time.time():.1f}"
            self._add("processes", [f"{at},{line}" for line in _processes()])
            self._add("folders", [f"{at},{name},{size},{files}" for name, (size, files) in self._look().items()])

    def _add(self, name: str, lines: list[str]) -> None:
        with self.path(name).open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))


def _processes() -> Iterator[str]:
    for pid, line in sorted(family(os.getpid()).items()):
        found = process(pid) if pid != os.getpid() else None
        if found:
            start, resident, shared, handles, threads = found
            yield f"{role(line)},{pid},{start},{resident},{shared},{handles},{threads}"
