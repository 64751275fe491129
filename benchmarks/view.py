"""Measure `barrage view` on a store of a million rows, from its start to filters in a headless browser:

    python -m benchmarks.view [ROWS] [STORE]

It writes a store of ROWS rows (default: 1,000,000) of 20 evaluation draws, 50,000 images a cell, as `benchmarks.analysis` does;
a later run uses STORE again; default: a temporary folder. The command and its browser share two cores. Beside each
figure are its target and the ratio to it: below 1 is within. Times are from the request to the parsed answer, in the page.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.stores import synthetic

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)

CORES = 2
IMAGES = 50_000
PAINT, ANSWER = 2.0, 0.3
"""Targets: seconds to the first paint, and to the answer of any filter."""

REPEATED = 5

QUERIES: dict[str, dict[str, Any]] = {
    "no filter": {},
    "cell": {"where": [["cell", "=", "resnet50-bart5-pgd003"]]},
    "outcome": {"where": [["outcome", "=", "broken"]]},
    "class and share": {"where": [["label", "in", [1, 2, 3]], ["adv", ">", 0.3]]},
    "key contains": {"where": [["image_key", "contains", "IMAGE-000499"]]},
    "error contains": {"where": [["error", "contains", "truncated"]]},
    "class name contains": {"where": [["label_name", "contains", "cat"]]},
    "under the vote, not null": {"rule": "vote", "where": [["adv", "=", 1], ["l2", "notnull"]]},
    "sort by share": {"sort": [["adv", "asc"]]},
    "sort by distance and key": {"sort": [["l2", "desc"], ["image_key", "asc"]]},
    "sort by outcome": {"rule": "mean", "top": 5, "sort": [["outcome", "asc"]]},
    "filter and sort": {"where": [["outcome", "=", "broken"]], "sort": [["adv", "desc"]]},
    "sorted, in the middle": {"sort": [["adv", "asc"]], "offset": 500_000},
    "keys sorted, in the middle": {"sort": [["image_key", "asc"]], "offset": 500_000},
    "group by cell": {"group": ["cell"]},
    "group by class": {"group": ["label"], "sort": [["adv", "asc"]]},
    "group by cell and class": {"group": ["cell", "label"], "sort": [["adv", "asc"]]},
    "group by outcome": {"group": ["outcome"]},
}
"""Every kind of question that the page asks, by name."""

ASK = """async ([query, count]) => {
  const times = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const answer = await fetch("api/rows.json", { method: "POST", body: JSON.stringify({ store: "0", limit: 100, ...query }) });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    times.push((performance.now() - began) / 1000);
  }
  return times;
}"""
"""Ask a question a number of times; the seconds of each."""

PAINTED = "() => performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime / 1000)[0] ?? null"
LOADED = "async () => { const found = await (await fetch('api/stores.json')).json(); return found.stores[0]; }"


def show(name: str, seconds: float, target: float | None = None, more: str = "") -> None:
    """Print a figure with its target."""
    beside = f"target {target:.1f} s, ratio {seconds / target:.2f}" if target else ""
    print(f"{name + ':':44} {seconds:7.3f} s  {beside}{more}", flush=True)


def wait(page: Any, ready: str) -> float:
    """Return the seconds until the store of the page is so; `ready` is an expression of JavaScript over `store`."""
    began = time.perf_counter()
    while not page.evaluate(f"async () => {{ const store = await ({LOADED})(); return {ready}; }}"):
        time.sleep(0.1)
    return time.perf_counter() - began


def paint(browser: Any, address: str) -> tuple[Any, float]:
    """Open the page; return it, and the seconds to its first paint."""
    page = browser.new_page()
    page.goto(address)
    page.wait_for_function(f"({PAINTED})() !== null")
    return page, float(page.evaluate(PAINTED))


def measure(browser: Any, store: str) -> None:
    """Start the command on a store, and print what a user waits for."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pipeline", "view", store, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            address = server.stdout.readline().strip()
            show("start to address", time.perf_counter() - began)
            page, seconds = paint(browser, address)
            show("first paint, while rows are read", seconds, PAINT)
            wait(page, "store.cells.length > 0")
            show("start to the overview of all cells", time.perf_counter() - began)
            wait(page, "store.loading === null")
            show("start to all rows scored", time.perf_counter() - began, more=f"{page.evaluate(LOADED)['rows']:,} rows")
            page.close()
            page, seconds = paint(browser, address)
            show("first paint, all rows read", seconds, PAINT)
            for name, query in QUERIES.items():
                show(name, statistics.median(page.evaluate(ASK, [query, REPEATED])), ANSWER)
            status = Path(f"/proc/{server.pid}/status").read_text()
            print(f"memory of the server: {int(status.split('VmRSS:')[1].split()[0]) / 1e6:.2f} GB")
        finally:
            server.terminate()


def main(arguments: Sequence[str]) -> None:
    from playwright.sync_api import sync_playwright

    rows = int(arguments[0].replace("_", "").replace(",", "")) if arguments else 1_000_000
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        store = Path(arguments[1] if len(arguments) > 1 else folder)
        if not (store / "results").exists():
            synthetic.large(store, rows, IMAGES)
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {CORES} cores")
        measure(browser, str(store))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
