"""Compare what people wait for with an earlier build: python -m benchmarks.waits --before COMMIT [TASK...]

    table    all rules, top-1 and top-5, with intervals, of many rows, beside DuckDB's mean of a single draw on the same files
    show     `barrage table` of one cell's rows: what anyone waits for who asks a small store
    report   the page of many rows
    compare  two cells of many images, without the draws of their transforms
    verify   a store of small pictures, and one of eight times as many: its memory is not to grow with the rows
    plan     cut a campaign into units, write it down, and list the units
    help     `barrage --help`

Both builds, and DuckDB, take turns, each time in a process of its own. Two ratios of medians are printed: of the processor time
of all cores, and of time on the clock, which other work on the machine changes. Loading libraries counts for all tasks but
`table` and `plan`; peak memory always includes them. The answers of both builds must be the same. Stores, if none is given, are
made in a temporary folder: 1 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.side_by_side import ROOT, checkout

BEGIN = """
import time
START = 0.0, time.monotonic()
import hashlib, json, sys
def now():
    return time.process_time(), time.monotonic()
def report(begun, answer):
    spent, passed = (one - other for one, other in zip(now(), begun))
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    digest = hashlib.sha256(json.dumps(answer, default=str).encode()).hexdigest()
    print()
    print(json.dumps([spent, passed, int(peak.split()[1]) / 1e6, digest]))
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
begun = now()
found = summaries.lines(batches(sys.argv[1], summaries.columns(RULES)), RULES)
report(begun, [{k: v for k, v in summaries.as_dict(line).items() if k != "seconds"} for line in found])
"""

DUCKDB = """
import duckdb, glob
share = "{0}_correct::DOUBLE / evaluation_draws"
sums = ", ".join(f"avg({share.format(side)}), var_samp({share.format(side)})" for side in ("clean", "adv"))
begun = now()
asked = f"SELECT cell, count(*), {sums} FROM read_parquet(?) WHERE status = 'ok' GROUP BY cell ORDER BY cell"
found = duckdb.connect().execute(asked, [glob.glob(sys.argv[1] + "/results/*.parquet")]).fetchall()
report(begun, len(found))
"""

PLAN = """
import tempfile
from benchmarks.scale_plan import campaign
with tempfile.TemporaryDirectory() as folder:
    job, rates = campaign(int(sys.argv[1]), folder)
    begun = now()
    units = list(job.with_cuts(rates).write_down().units())
    report(begun, [unit.name for unit in units])
"""

COMMAND = """
import contextlib, io
sys.argv = ["barrage", *sys.argv[1].split("\\n")]
from pipeline.__main__ import main
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    main()
report(START, said.getvalue() if "--help" not in sys.argv else "")
"""

VERIFY = """
from pipeline.campaigns.job import opened
from pipeline.campaigns.verification.verify import verify
found = list(verify(opened(sys.argv[1])))
assert not found, found[:3]
report(START, len(found))
"""

REPORT = """
import warnings
warnings.simplefilter("ignore")
from pipeline.reports.page import gather, page
from pipeline.scoring import summaries
found = gather(sys.argv[1])
assert page(found)
whole = ("confusion", "margins", "classes", "agreement", "gradients", "always_broken", "never_broken")  # not of some images
errors = {cell: [of.get(name) for name in whole] for cell, of in found.errors.items()}
report(START, [[summaries.as_dict(line) for line in found.lines], found.failures, errors, found.points["curves"]])
"""


class Run(NamedTuple):
    """Hold the seconds of all cores and on the clock, the peak memory in GB, and the hash of the answer."""

    seconds: float
    passed: float
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
    spent, passed = (
        {name: median(getattr(run, of) for run in runs) for name, runs in found.items()} for of in ("seconds", "passed")
    )
    for name, runs in found.items():
        ratio = (
            f"; now: {spent['now'] / spent[name]:.2f} and {passed['now'] / passed[name]:.2f} times that"
            if name != "now"
            else ""
        )
        print(
            f"{task}, {name}: {spent[name]:.2f} s of all cores, {passed[name]:.2f} s on the clock, peak memory "
            f"{max(run.peak for run in runs):.2f} GB{ratio}",
            flush=True,
        )
    if {run.answer for run in found["before"]} != {run.answer for run in found["now"]}:
        sys.exit(f"{task}: the two builds have different answers")


@contextmanager
def stored(options: Any, rows: int, images: int) -> Iterator[Path]:
    """Yield a store of `rows` rows, in cells of `images` images: the one that is given, else a new one."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(options.store or folder)
        if not (store / "results").exists():
            from tests.support.stores import synthetic

            synthetic.large(store, rows, images)
        yield store


def table(before: Path, options: Any) -> None:
    """Compare tables of many rows."""
    with stored(options, options.rows, 50_000) as store:
        codes = {"before": (TABLE, before), "now": (TABLE, ROOT), "DuckDB, one draw": (DUCKDB, ROOT)}
        printed("table", compared(codes, str(store), options.rounds))


def show(before: Path, options: Any) -> None:
    """Compare the command that shows a small table."""
    with tempfile.TemporaryDirectory() as folder:
        from tests.support.stores import synthetic

        synthetic.large(Path(folder), 1000, 1000)
        both = {"before": (COMMAND, before), "now": (COMMAND, ROOT)}
        printed("show", compared(both, f"table\n{folder}\n--format\njson", options.rounds))


def report(before: Path, options: Any) -> None:
    """Compare pages of many rows."""
    with stored(options, options.rows, 50_000) as store:
        printed("report", compared({"before": (REPORT, before), "now": (REPORT, ROOT)}, str(store), options.rounds))


def compare(before: Path, options: Any) -> None:
    """Compare comparisons of two cells of many images, which are a tenth of the rows of a table."""
    options.store, images = None, options.rows // 10
    with stored(options, 2 * images, images) as store:
        cells = sorted(path.name.partition("--")[0] for path in (store / "results").iterdir())
        call = ["compare", str(store), *(word for cell in cells[:2] for word in ("--cell", cell)), "--no-parts"]
        both = {"before": (COMMAND, before), "now": (COMMAND, ROOT)}
        printed("compare", compared(both, "\n".join(call), options.rounds))


def verify(before: Path, options: Any) -> None:
    """Compare checks of a hundredth of the rows of a table, and of an eighth of these: 10 cells, shards of 1,000 pictures."""
    from tests.support.stores import synthetic

    for rows in (options.rows // 800, options.rows // 100):
        with tempfile.TemporaryDirectory() as folder:
            job = synthetic.sound(Path(folder), rows // 10, 10)
            both = {"before": (VERIFY, before), "now": (VERIFY, ROOT)}
            printed(f"verify, {rows:,} rows", compared(both, job.store, options.rounds))


def plan(before: Path, options: Any) -> None:
    """Compare how long a campaign of many units takes to plan."""
    printed("plan", compared({"before": (PLAN, before), "now": (PLAN, ROOT)}, str(options.units), options.rounds))


def help_(before: Path, options: Any) -> None:
    """Compare how long the help of the command takes."""
    printed("help", compared({"before": (COMMAND, before), "now": (COMMAND, ROOT)}, "--help", 3 * options.rounds))


TASKS = {
    "table": table,
    "show": show,
    "report": report,
    "compare": compare,
    "verify": verify,
    "plan": plan,
    "help": help_,
}


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
