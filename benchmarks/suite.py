"""Time the tests of an earlier commit and of this one on this machine, one after the other.

python -m benchmarks.suite BASE [--target test] [--first-only]

BASE is a worktree or clone of the earlier commit. Both commits are cloned afresh, so nothing is compiled before the first run;
the second run finds what the first one has compiled. Prints the seconds of each run and their ratio. Let nothing else run
meanwhile.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def clone(source: str | Path, folder: Path) -> Path:
    """Clone what is committed in a worktree into `folder`, next to the data that tests find in `../shared`; return the path."""
    folder.mkdir()
    if (ROOT.parent / "shared").exists():
        (folder / "shared").symlink_to((ROOT.parent / "shared").resolve())
    subprocess.run(
        [
            "git",
            "-c",
            "advice.detachedHead=false",
            "clone",
            "--quiet",
            "--shared",
            str(Path(source).resolve()),
            str(folder / "code"),
        ],
        check=True,
    )
    return folder / "code"


def seconds(code: Path, target: str) -> float:
    """Return how many seconds `make target` takes in a clone, with the packages of this Python; exits if a test fails."""
    binaries = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(code)}
    began = time.monotonic()
    # The folder `tests` stands for the mark that all is installed; -o keeps make from installing it.
    done = subprocess.run(["make", target, f"BIN={binaries}", "INSTALLED=tests", "-o", "tests"], cwd=code, env=environment)
    took = time.monotonic() - began
    if done.returncode:
        sys.exit(f"make {target} failed in {code} after {took:.0f} s: mend the tests, then measure")
    return took


def main() -> None:
    """Run both suites and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("base", help="a worktree or clone of the earlier commit")
    options.add_argument("--target", default="test", help="what of the Makefile to time (default: test)")
    options.add_argument("--first-only", action="store_true", help="leave out the second runs")
    asked = options.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        base, here = (clone(source, Path(folder, name)) for source, name in ((asked.base, "base"), (ROOT, "here")))
        for run in ("first", "second")[: 1 if asked.first_only else 2]:
            before, now = seconds(base, asked.target), seconds(here, asked.target)
            found.append(f"make {asked.target}, {run} run: {before:.0f} s before, {now:.0f} s now, ratio {now / before:.2f}")
        found.append(f"make test-fast: {seconds(here, 'test-fast'):.0f} s now")
    print("\n".join(found))


if __name__ == "__main__":
    main()
