"""Ten million rows in one pass: time and memory of the table and of the analysis: python -m benchmarks.analysis [ROWS] [STORE]

Writes a store of ROWS rows (10,000,000 unless told) of 20 evaluation draws, 50,000 images a cell, into a temporary folder or
STORE, where a later run finds it again; each aggregation runs in a process of its own, whose peak memory is its own.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import analysis, tables
from pipeline.results import batches
from pipeline.scores import RULES
from tests.pipeline import synthetic

IMAGES = 50_000


def _table(*rules: str) -> Callable[[str], object]:
    return lambda store: tables.lines(batches(store, tables.columns(rules)), rules)


WORK: dict[str, Callable[[str], object]] = {
    "table, rule single": _table("single"),
    "table, rules single, mean, persistent": _table("single", "mean", "persistent"),
    "table, all rules, the vote too": _table(*RULES),
    "frame of scores, accuracy of every cell": lambda store: analysis.accuracy(analysis.scores(store)),
    "frame of scores, worst case over attacks": lambda store: analysis.worst_case(analysis.scores(store)),
}


def _measured(name: str, store: str) -> None:
    before = _peak()
    began = time.perf_counter()
    WORK[name](store)
    seconds = time.perf_counter() - began
    print(f"{name}: {seconds:.1f} s, peak memory {_peak():.2f} GB ({before:.2f} before it began)", flush=True)


def _peak() -> float:
    """The most memory that this process has held, GB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def main() -> None:
    rows = int(sys.argv[1].replace("_", "").replace(",", "")) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        store = Path(sys.argv[2] if len(sys.argv) > 2 else folder)
        if not (store / "results").exists():
            synthetic.large(store, rows, IMAGES)
        size = sum(path.stat().st_size for path in store.rglob("*.parquet"))
        print(f"{rows:,} rows in {len(list(store.rglob('*.parquet')))} files, {size / 1e9:.2f} GB", flush=True)
        fresh = multiprocessing.get_context("spawn")
        for name in WORK:
            process = fresh.Process(target=_measured, args=(name, str(store)))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{name}: failed")


if __name__ == "__main__":
    main()
