"""Try mutants in processes of their own: one that dies, hangs or grows too large is a fault of its mutant, and is replaced."""

import multiprocessing
import resource
import tempfile
import time
import traceback
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.fuzz.kind import Kind, verdict
from benchmarks.fuzz.kinds import KINDS

MEMORY = 2_000_000_000
"""Bytes that a process may take, all libraries included."""

LATE = 60
"""Seconds without a word after which a process is killed: no alarm of Python rings in compiled code."""

START = 120
"""Seconds that a process may take to start, on a busy machine."""

_CONTEXT = multiprocessing.get_context("spawn")


class Piece(NamedTuple):
    """Name the mutants `start` to `stop` (excluded) of a kind."""

    kind: str
    start: int
    stop: int


class Verdict(NamedTuple):
    """Report what became of a mutant, and the most bytes that its process took so far."""

    kind: str
    number: int
    said: str
    memory: int


def most_memory() -> int:
    """Return the most bytes of memory that this process held. (`ru_maxrss` begins with what its parent held at the fork.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@dataclass
class _Worker:
    """Hold a process, the piece that it works on, how far it is, and when it is late."""

    piece: Piece
    kinds: Mapping[str, type[Kind]]
    done: int = 0
    late: float = 0.0
    connection: Connection = field(init=False)
    process: SpawnProcess = field(init=False)

    def __post_init__(self) -> None:
        self.done = self.piece.start
        self._begin()

    @property
    def idle(self) -> bool:
        """Return whether all mutants of the piece have a verdict."""
        return self.done >= self.piece.stop

    def take(self, piece: Piece) -> None:
        """Give the process its next piece."""
        self.piece, self.done, self.late = piece, piece.start, max(self.late, time.monotonic() + LATE)
        self.connection.send(piece)

    def answer(self, ready: bool) -> Verdict | None:
        """Return the next verdict, if there is one; `ready` says whether the process wrote, or died."""
        if not ready:
            late = time.monotonic() > self.late
            return self._failed(f"hangs in compiled code, more than {LATE} s") if late else None
        try:
            found = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join(5)
            return self._failed(f"the process died, exit code {self.process.exitcode}")
        if not isinstance(found, Verdict):
            raise RuntimeError(f"no mutant could be made:\n{found}")
        self.done, self.late = found.number + 1, time.monotonic() + LATE
        return found

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _failed(self, fault: str) -> Verdict:
        """Return the verdict of the mutant that was tried, and go on behind it with another process."""
        found = Verdict(self.piece.kind, self.done, f"FAULT: {fault}", 0)
        self.done += 1
        self.end()
        self._begin()
        return found

    def _begin(self) -> None:
        """Start a process on what is left of the piece."""
        self.late = time.monotonic() + START
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, self.kinds), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.send(self.piece._replace(start=self.done))


def verdicts(pieces: Iterable[Piece], processes: int, kinds: Mapping[str, type[Kind]] = KINDS) -> Iterator[Verdict]:
    """Yield the verdict of each mutant of some pieces, in the order in which they come."""
    waiting = deque(pieces)
    workers = [_Worker(waiting.popleft(), kinds) for _ in range(min(processes, len(waiting)))]
    try:
        while workers:
            ready = wait([worker.connection for worker in workers], timeout=1)
            for worker in list(workers):
                if found := worker.answer(worker.connection in ready):
                    yield found
                if worker.idle and waiting:
                    worker.take(waiting.popleft())
                elif worker.idle:
                    workers.remove(worker)
                    worker.end()
    finally:
        for worker in workers:
            worker.end()


def _serve(connection: Connection, kinds: Mapping[str, type[Kind]]) -> None:
    """Try the mutants of pieces, and answer with the verdict of each, until the driver is gone."""
    warnings.simplefilter("ignore")
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY, own + MEMORY))
    try:
        while True:
            for found in tried(connection.recv(), kinds):
                connection.send(found)
    except (EOFError, ConnectionError):
        return
    except Exception:  # of the fuzz itself: what mutants raise is a verdict
        connection.send(traceback.format_exc())


def tried(piece: Piece, kinds: Mapping[str, type[Kind]] = KINDS) -> Iterator[Verdict]:
    """Yield the verdict of each mutant of a piece, tried in this process. The same number is the same mutant."""
    with tempfile.TemporaryDirectory() as place:
        kind = kinds[piece.kind](Path(place))
        for number in range(piece.start, piece.stop):
            said = verdict(kind, Random(f"{piece.kind} {number}"))
            yield Verdict(piece.kind, number, said, most_memory())
