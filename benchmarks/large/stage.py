"""Do one stage of a campaign in this process and print what it took: python -m benchmarks.large.stage NAME CAMPAIGN STORE"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.large import CELLS


class Taken(NamedTuple):
    """Hold what a stage took: seconds of cores, its children's too; seconds on the clock; the process's peak memory in MB."""

    cores: float
    clock: float
    peak: float


def _inspect(campaign: str, store: str) -> None:
    """Read every shard from end to end, as a campaign does when it meets them."""
    from pipeline.config.campaign import load
    from pipeline.data import shards

    for path in shards.paths(load(Path(campaign)).data):
        shards.inspect(path)


def _view(campaign: str, store: str) -> None:
    """Read a store as the viewer does, and answer the first question of its page: all rows."""
    from pipeline.scoring.rules import RULES
    from pipeline.view.rows import queries
    from pipeline.view.watched import Watched

    watched = Watched("0", store, list(RULES))
    watched.refresh()
    assert not watched.content["problem"], watched.content["problem"]
    watched.database.answer(queries.parsed({}, list(RULES)))


def _barrage(*arguments: str) -> Callable[[str, str], None]:
    """Return a function that runs a command whose arguments may be {campaign} and {store}."""

    def run(campaign: str, store: str) -> None:
        from pipeline.__main__ import app

        code = app([argument.format(campaign=campaign, store=store) for argument in arguments], standalone_mode=False)
        assert not code, f"barrage {' '.join(arguments)}: exit code {code}"

    return run


STAGES: dict[str, Callable[[str, str], None]] = {
    "inspect": _inspect,
    "plan": _barrage("plan", "{campaign}", "--no-calibrate", "--rate", "100"),
    "run": _barrage("run", "{campaign}", "--store", "{store}", "--here"),
    "status": _barrage("status", "{store}"),
    "table": _barrage("table", "{store}"),
    "report": _barrage("report", "{store}", "-o", "{store}.html"),
    "verify": _barrage("verify", "{store}"),
    "compare": _barrage("compare", "{store}", *(part for cell in CELLS for part in ("--cell", cell))),
    "view": _view,
}
"""What is measured, in this order: a store is made by `run`."""


def _peak() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def main(name: str, campaign: str, store: str) -> None:
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    began = time.monotonic()
    STAGES[name](campaign, store)
    clock = time.monotonic() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    taken = Taken(sum(use.ru_utime + use.ru_stime for use in used), clock, _peak())
    os.write(out, json.dumps(taken).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
