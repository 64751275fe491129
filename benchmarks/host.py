"""Count what the host does for a pass of the barrage on a GPU, without a GPU: python -m benchmarks.host [--before COMMIT]

A pass draws, goes forward and goes backward through k transforms, over a stack of images that have a shape but no pixels. All
is real but what a GPU would do: kernels are looked up and started as ever, and the start itself does nothing; so does the
replay of what a GPU would have recorded, of which the launches are counted too. Prints the starts of kernels and of replays,
other operators on the device, nodes of autograd, and the milliseconds of processor time; with `--before`, those of an earlier
build too, which takes its passes in turns with this one, each in a process of its own, and the median ratio of the times with
a 95 % interval. What the driver spends on a replay is not in it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side import ROOT, builds, checkout, ratio

PASS = Path(__file__).with_name("host_pass.py")
WARM = 4
"""Passes before the first that counts: they look kernels up, and record."""


def passes(folders: list[Path], setting: tuple[int, int, int], rounds: int) -> list[list[dict[str, Any]]]:
    """Return the counts and seconds of `rounds` passes of each build, which take turns."""
    with builds(folders, PASS, *setting) as several:
        return [[json.loads(build.ask()) for build in several] for _ in range(WARM + rounds)][WARM:]


def in_words(name: str, several: list[dict[str, Any]]) -> str:
    """Return the line of a build: counts of its last pass, the median of its times."""
    last, spent = several[-1], float(np.median([one["seconds"] for one in several]))
    return (f"{name}: {last['launches']:,} launches, {last['replays']:,} replays, {last['operators']:,} other operators, "
            f"{last['nodes']:,} nodes of autograd; {1e3 * spent:.2f} ms of the host; "
            f"in replays {last['recorded']:,} starts")  # fmt: skip


def main() -> None:
    """Print a line a build and the ratio."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--before", help="a commit")
    options.add_argument("--k", type=int, default=10)
    options.add_argument("--draws", type=int, default=512)
    options.add_argument("--side", type=int, default=224)
    options.add_argument("--rounds", type=int, default=20)
    asked = options.parse_args()
    setting = (asked.k, asked.draws, asked.side)
    print(f"k = {asked.k}, {asked.draws} draws of {asked.side} px, forward and backward")
    if not asked.before:
        print(in_words("this build", [one for (one,) in passes([ROOT], setting, asked.rounds)]))
        return
    with checkout(asked.before) as before:
        both = passes([before, ROOT], setting, asked.rounds)
    print(in_words(asked.before, [first for first, _ in both]))
    print(in_words("this build", [second for _, second in both]))
    middle, low, high = ratio(np.array([[second["seconds"], first["seconds"]] for first, second in both]))
    print(f"the host's time over that of {asked.before}: {middle:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
