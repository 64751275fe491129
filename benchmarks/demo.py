"""Measure time and memory of the demo from a cold start, and check its result: python -m benchmarks.demo

The script runs `barrage pack` and `barrage run campaigns/demo.yaml` into a new store, as `make demo` does. Twice a second it
adds up the proportional memory (PSS) of the command and of everything that it started, Ray included.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path


def family(pid: int) -> set[int]:
    """Return the process and all its living descendants."""
    children = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children[parent].append(int(entry.name))
    found, new = set(), [pid]
    while new:
        found.add(new[-1])
        new += children[new.pop()]
    return found


def memory(pids: set[int]) -> float:
    """Return the proportional memory (PSS) of some processes, in GB."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1e6


def main() -> None:
    barrage = [sys.executable, "-m", "pipeline"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*barrage, "pack", "demo", "demo/photos"], check=True, stdout=subprocess.DEVNULL)
        began, peak = time.perf_counter(), 0.0
        run = subprocess.Popen([*barrage, "run", "campaigns/demo.yaml", "--store", folder])
        while run.poll() is None:
            peak = max(peak, memory(family(run.pid)))
            time.sleep(0.5)
        seconds = time.perf_counter() - began
        table = subprocess.run([*barrage, "table", folder, "--format", "json"], check=True, capture_output=True, text=True)
        again = time.perf_counter()
        subprocess.run([*barrage, "run", "campaigns/demo.yaml", "--store", folder], check=True, capture_output=True)
        again = time.perf_counter() - again
        verified = subprocess.run([*barrage, "verify", folder], capture_output=True, text=True)
    (undefended,) = [line for line in json.loads(table.stdout) if line["cell"] == "lite0-none-pgd" and line["rule"] == "single"]
    right = round(undefended["adv_top1"] * undefended["images"])
    print(f"demo: {seconds:.0f} s (at most 300 wanted), peak memory {peak:.2f} GB (at most 6), exit code {run.returncode}")
    print(f"undefended, attacked: {right} of {undefended['images']} right (0 wanted)")
    print(f"the finished campaign again: {again:.1f} s; verify: {verified.stdout.strip()}")


if __name__ == "__main__":
    main()
