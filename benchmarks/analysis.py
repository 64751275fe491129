"""Measure time and memory of the table and of the frames on ten million rows, beside DuckDB and pandas on the same files:

    python -m benchmarks.analysis [ROWS] [STORE]

It writes a store of ROWS rows (default: 10,000,000) of 20 evaluation draws, 50,000 images a cell, 1.1 GB. The store is in
STORE, where a later run uses it again; default: a temporary folder. Each task runs in a process of its own. Its peak memory
includes the libraries, its time does not include loading them. All tasks together take some minutes.
"""

import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd
import pyarrow

from pipeline import analysis
from pipeline.scoring import summaries, votes
from pipeline.scoring.rules import RULES
from pipeline.store.committed import sources
from pipeline.store.layout import Store
from pipeline.store.rows import batches
from tests.support.stores import synthetic

IMAGES = 50_000
TENTH = 10
"""One in TENTH cells is given to the peer of the vote, since SQL takes long for it."""


class Measured(NamedTuple):
    """Hold the wall-clock seconds, the seconds of all cores, and the peak memory of the process in GB."""

    seconds: float
    cores: float
    peak: float

    def __str__(self) -> str:
        return f"{self.seconds:5.1f} s ({self.cores:5.1f} s of all cores), peak memory {self.peak:.2f} GB"


def _table(*rules: str, part: int = 1) -> Callable[[str], object]:
    return lambda store: summaries.lines(batches(store, summaries.columns(rules), _cells(store)[::part]), rules)


def _cells(store: str) -> list[str]:
    return list(sources(Store(store)))


def _files(store: str, part: int = 1) -> list[str]:
    return [f"{store}/{file}" for files in list(sources(Store(store)).values())[::part] for file in files]


def _duckdb(store: str) -> object:
    """Return the accuracy of a single draw, clean and attacked, with the variance that an interval needs."""
    share = "{0}_correct::DOUBLE / evaluation_draws"
    sums = ", ".join(f"avg({share.format(side)}), var_samp({share.format(side)})" for side in ("clean", "adv"))
    asked = f"SELECT cell, count(*), {sums} FROM read_parquet(?) WHERE status = 'ok' GROUP BY cell"
    return _sql(asked, _files(store))


def _duckdb_vote(store: str) -> object:
    """Return the accuracy of the top-1 vote, clean and attacked; DuckDB decides ties."""
    won = "list_aggregate(list_transform({0}_top5, lambda five: five[1]), 'mode') = label"
    sums = ", ".join(f"avg(({won.format(side)})::INT)" for side in ("clean", "adv"))
    asked = f"SELECT cell, count(*), {sums} FROM read_parquet(?) WHERE status = 'ok' GROUP BY cell"
    return _sql(asked, _files(store, TENTH))


def _sql(asked: str, files: list[str]) -> object:
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    return connection.execute(asked, [files]).fetchall()


def _pandas(store: str) -> object:
    """Return the same as `_duckdb`."""
    columns = ["cell", "status", "evaluation_draws", "clean_correct", "adv_correct"]
    frame = pd.concat([pd.read_parquet(file, columns=columns, partitioning=None) for file in _files(store)])
    frame = frame[frame["status"] == "ok"]
    shares = {side: frame[f"{side}_correct"] / frame["evaluation_draws"] for side in ("clean", "adv")}
    return frame.assign(**shares).groupby("cell", observed=True)[["clean", "adv"]].agg(["mean", "var", "size"])


WORK: dict[str, tuple[Callable[[str], object], str]] = {
    "table, all rules, clean and attacked, top-1 and top-5": (_table(*RULES), ""),
    "table, rule single": (_table("single"), ""),
    "DuckDB, a single draw, top-1": (_duckdb, "table, rule single"),
    "pandas, a single draw, top-1": (_pandas, "table, rule single"),
    "table, rule vote, a tenth of the cells": (_table("vote", part=TENTH), ""),
    "DuckDB, the vote, top-1, a tenth of the cells": (_duckdb_vote, "table, rule vote, a tenth of the cells"),
    "frame of scores, accuracy of every cell": (lambda store: analysis.accuracy(analysis.scores(store)), ""),
    "frame of scores, worst case over attacks": (lambda store: analysis.worst_case(analysis.scores(store)), ""),
}
"""{task: (function, the task of ours that it is compared with, or "")}"""


def _measure(name: str, store: str, results: Connection) -> None:
    began, cores = time.perf_counter(), time.process_time()
    WORK[name][0](store)
    results.send(Measured(time.perf_counter() - began, time.process_time() - cores, _peak()))


def _peak() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def _apart(name: str, store: str) -> Measured:
    """Return the figures of a task that ran in a fresh process. Exits if the task fails."""
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe(duplex=False)
    process = fresh.Process(target=_measure, args=(name, store, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        sys.exit(f"{name}: failed")
    finally:
        process.join()


def main(arguments: Sequence[str]) -> None:
    rows = int(arguments[0].replace("_", "").replace(",", "")) if arguments else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        store = Path(arguments[1] if len(arguments) > 1 else folder)
        if not (store / "results").exists():
            synthetic.large(store, rows, IMAGES)
        files = _files(str(store))
        size = sum(os.path.getsize(file) for file in files)
        print(f"{rows:,} rows of 20 draws in {len(files)} files, {size / 1e9:.2f} GB; {os.cpu_count()} cores")
        versions = f"pyarrow {pyarrow.__version__}, duckdb {duckdb.__version__}, pandas {pd.__version__}"
        print(f"Python {platform.python_version()}, {versions}")
        zeros, lists = np.zeros(1, np.int64), np.zeros((1, 5), np.int32)
        lists.setflags(write=False)  # as those of Arrow are
        votes.elected(lists, zeros, zeros, zeros, 1)  # compiled once on a machine, and kept
        found: dict[str, Measured] = {}
        for name, (_, beside) in WORK.items():
            found[name] = _apart(name, str(store))
            ratio = f", {found[name].seconds / found[beside].seconds:.1f} times the time of ours" if beside else ""
            print(f"{name + ':':55} {found[name]}{ratio}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
