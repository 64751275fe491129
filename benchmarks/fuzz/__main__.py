"""Try mutants of each kind of input; print each fault with what makes it again, and a summary; exit code 1 after a fault."""

import argparse
import sys
import time
from collections import Counter, defaultdict

from benchmarks.fuzz.kinds import KINDS
from benchmarks.fuzz.pool import MEMORY, Piece, verdicts

PIECE = 250
"""Mutants that a process is handed at once."""

SHOWN = 1000
"""Mutants of a kind between two lines on the way."""


def main() -> None:
    """Try the mutants that were asked for; print what became of them, and the peak memory."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=str(__doc__))
    parser.add_argument("--count", type=int, default=1000, help="mutants of each kind")
    parser.add_argument("--start", type=int, default=1, help="the first mutant's number")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind; repeat for more")
    parser.add_argument("--processes", type=int, default=2, help="processes that try mutants")
    asked = parser.parse_args()
    stop, began = asked.start + asked.count, time.monotonic()
    pieces = [Piece(k, at, min(at + PIECE, stop)) for k in asked.kind or KINDS for at in range(asked.start, stop, PIECE)]
    seen, peak = defaultdict[str, Counter[str]](Counter), 0
    for found in verdicts(pieces, asked.processes):
        said, peak = found.said, max(peak, found.memory)
        seen[found.kind][said.partition(":")[0]] += 1
        if said.startswith("FAULT"):
            again = f"python -m benchmarks.fuzz --kind {found.kind} --start {found.number} --count 1"
            print(f"{said.rstrip()}\n  again: {again}", flush=True)
        if not (done := seen[found.kind].total()) % SHOWN:
            print(f"{found.kind}: {done} of {asked.count} done", file=sys.stderr, flush=True)
    for name, counts in seen.items():
        words = ", ".join(f"{count} {said}" for said, count in sorted(counts.items()))
        print(f"{name} {asked.start} to {stop - 1}: {words}", flush=True)
    faults = sum(counts["FAULT"] for counts in seen.values())
    print(f"{sum(map(Counter.total, seen.values()))} mutants, {faults} faults, in {time.monotonic() - began:.0f} s; "
          f"most memory of a process {peak / 1e9:.2f} GB")  # fmt: skip
    sys.exit(bool(faults) or peak > MEMORY)


if __name__ == "__main__":
    main()
