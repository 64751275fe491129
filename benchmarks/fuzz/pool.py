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
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.fuzz.kind import Kind, verdict
from benchmarks.fuzz.kinds import KINDS

MEMORY = 2_000_000_000
"""Bytes that a process may take, all libraries included."""

LATE = 20
"""Seconds without a word after which a process is killed: Python's own alarm does not ring in compiled code."""

START = 120
"""Seconds that a process may take to start, on a busy machine."""

_CONTEXT = multiprocessing.get_context("spawn")


class Piece(NamedTuple):
    """Name the mutants `start` to `stop` (excluded) of a kind."""

    kind: str
    start: int
    stop: int


class Verdict(NamedTuple):
    """Say what became of a mutant, and the most bytes that its process took so far."""

    kind: str
    number: int
    said: str
    memory: int


@dataclass
class _Worker:
    """Hold a process, the piece that it works on, and when it is late."""

    piece: Piece
    kinds: Mapping[str, type[Kind]]
    done: int = field(init=False)
    late: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start a process that goes on with the piece."""
        self.done, self.late = self.piece.start, time.monotonic() + START
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, self.kinds), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.send(self.piece)

    def take(self, piece: Piece) -> None:
        """Give the process its next piece."""
        self.piece, self.done, self.late = piece, piece.start, time.monotonic() + LATE
        self.connection.send(piece)

    def end(self) -> int | None:
        """Kill the process and return its exit code."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        return self.process.exitcode


def verdicts(pieces: Iterable[Piece], processes: int, kinds: Mapping[str, type[Kind]] = KINDS) -> Iterator[Verdict]:
    """Yield the verdict of each mutant of some pieces, in the order in which they come."""
    waiting = deque(pieces)
    workers = [_Worker(waiting.popleft(), kinds) for _ in range(min(processes, len(waiting)))]
    try:
        while workers:
            ready = wait([worker.connection for worker in workers], timeout=1)
            for worker in list(workers):
                fault = ""
                if worker.connection in ready:
                    try:
                        found = worker.connection.recv()
                        if isinstance(found, str):
                            raise RuntimeError(f"no mutant could be made:\n{found}")
                        yield found
                        worker.done, worker.late = found.number + 1, time.monotonic() + LATE
                    except (EOFError, ConnectionError):
                        worker.process.join(5)
                        fault = f"FAULT: the process died, exit code {worker.process.exitcode}"
                elif time.monotonic() > worker.late:
                    fault = f"FAULT: hangs in compiled code, more than {LATE} s"
                if fault:
                    worker.end()
                    yield Verdict(worker.piece.kind, worker.done, fault, 0)
                    worker.piece = worker.piece._replace(start=worker.done + 1)
                    worker.done += 1
                if worker.done >= worker.piece.stop and waiting:
                    piece = waiting.popleft()
                    if fault:
                        worker.piece = piece
                        worker.begin()
                    else:
                        worker.take(piece)
                elif worker.done >= worker.piece.stop:
                    workers.remove(worker)
                    worker.end()
                elif fault:
                    worker.begin()
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
            yield Verdict(piece.kind, number, said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
