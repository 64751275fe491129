"""Compare what people wait for with an earlier build: python -m benchmarks.waits --before COMMIT [TASK...]

    table    all rules, top-1 and top-5, with intervals, of many rows, beside DuckDB's mean of a single draw on the same files
    plan     cut a campaign into units, write it down, and list the units
    help     `barrage --help`

Both builds, and DuckDB, take turns, each time in a process of its own; the ratio is of the medians of their processor times,
since other work on a machine changes time on the clock. Loading libraries counts for `help` alone; peak memory includes them.
The answers of both builds must be the same. A store of rows, if none is given, is made in a temporary folder: 1 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.side_by_side import ROOT, checkout

BEGIN = """
import hashlib, json, sys, time
def report(begun, answer):
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    digest = hashlib.sha256(json.dumps(answer).encode()).hexdigest()
    print(json.dumps([time.process_time() - begun, int(peak.split()[1]) / 1e6, digest]))
"""

TABLE = """
import warnings
from pipeline.scoring import evidence, summaries, votes
from pipeline.scoring.rules import RULES
from pipeline.store.rows import batches
import numpy as np
warnings.simplefilter("ignore")  # an earlier build does not know the columns of this one
evidence.rate_end(np.array([0.5, 1.0]), np.ones(2), 2.0)  # compiled once on a machine, and kept
zeros, lists = np.zeros(1, np.int64), np.zeros((1, 5), np.int32)
lists.setflags(write=False)
votes.elected(lists, zeros, zeros, zeros, 1)
begun = time.process_time()
found = summaries.lines(batches(sys.argv[1], summaries.columns(RULES)), RULES)
report(begun, [{k: v for k, v in summaries.as_dict(line).items() if k != "seconds"} for line in found])
"""

DUCKDB = """
import duckdb, glob
share = "{0}_correct::DOUBLE / evaluation_draws"
sums = ", ".join(f"avg({share.format(side)}), var_samp({share.format(side)})" for side in ("clean", "adv"))
begun = time.process_time()
asked = f"SELECT cell, count(*), {sums} FROM read_parquet(?) WHERE status = 'ok' GROUP BY cell ORDER BY cell"
found = duckdb.connect().execute(asked, [glob.glob(sys.argv[1] + "/results/*.parquet")]).fetchall()
report(begun, len(found))
"""

PLAN = """
import tempfile
from benchmarks.scale_plan import campaign
with tempfile.TemporaryDirectory() as folder:
    job, rates = campaign(int(sys.argv[1]), folder)
    begun = time.process_time()
    units = list(job.with_cuts(rates).write_down().units())
    spent = time.process_time() - begun
report(time.process_time() - spent, [unit.name for unit in units])
"""

HELP = """
import contextlib, io
begun = 0.0
sys.argv = ["barrage", "--help"]
from pipeline.__main__ import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
report(begun, "")
"""


class Run(NamedTuple):
    """Hold the seconds of all cores, the peak memory in GB, and the hash of the answer."""

    seconds: float
    peak: float
    answer: str


def once(code: str, folder: Path, argument: str) -> Run:
    """Return the figures of a piece of code that runs on the build in a folder."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    with tempfile.TemporaryDirectory() as elsewhere:
        call = [sys.executable, "-c", BEGIN + code, argument]
        done = subprocess.run(call, cwd=elsewhere, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Run(*json.loads(done.stdout.splitlines()[-1]))


def compared(codes: dict[str, tuple[str, Path]], argument: str, rounds: int) -> dict[str, list[Run]]:
    """Return the runs of each, {name: runs}; they take turns."""
    found: dict[str, list[Run]] = {name: [] for name in codes}
    for _ in range(rounds):
        for name, (code, folder) in codes.items():
            found[name].append(once(code, folder, argument))
    return found


def printed(task: str, found: dict[str, list[Run]]) -> None:
    """Print a line for each, and the ratios to this build. Exits if two builds answer otherwise."""
    now = median(run.seconds for run in found["now"])
    for name, runs in found.items():
        seconds = median(run.seconds for run in runs)
        ratio = "" if name == "now" else f"; now: {now / seconds:.2f} times that" + f", {seconds / now:.1f} times as fast"
        print(
            f"{task}, {name}: {seconds:.2f} s of all cores, peak memory {max(run.peak for run in runs):.2f} GB{ratio}",
            flush=True,
        )
    if {run.answer for run in found["before"]} != {run.answer for run in found["now"]}:
        sys.exit(f"{task}: the two builds have different answers")


def table(before: Path, options: Any) -> None:
    """Compare tables of many rows."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(options.store or folder)
        if not (store / "results").exists():
            from tests.support.stores import synthetic

            synthetic.large(store, options.rows, 50_000)
        codes = {"before": (TABLE, before), "now": (TABLE, ROOT), "DuckDB, one draw": (DUCKDB, ROOT)}
        printed("table", compared(codes, str(store), options.rounds))


def plan(before: Path, options: Any) -> None:
    """Compare how long a campaign of many units takes to plan."""
    printed("plan", compared({"before": (PLAN, before), "now": (PLAN, ROOT)}, str(options.units), options.rounds))


def help_(before: Path, options: Any) -> None:
    """Compare how long the help of the command takes."""
    printed("help", compared({"before": (HELP, before), "now": (HELP, ROOT)}, "", 3 * options.rounds))


TASKS = {"table": table, "plan": plan, "help": help_}


def main(arguments: Sequence[str]) -> None:
    """Print the lines of each task."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("task", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; default: all")
    options.add_argument("--before", required=True, help="a commit")
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--units", type=int, default=1_000_000)
    options.add_argument("--store", help="a store of rows that is there, or where it is made and kept")
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args(arguments)
    if others := set(asked.task) - TASKS.keys():
        options.error(f"{min(others)}: expected of {', '.join(TASKS)}")
    with checkout(asked.before) as before:
        for task in asked.task or TASKS:
            TASKS[task](before, asked)


if __name__ == "__main__":
    main(sys.argv[1:])
