"""Compare the barrage's step with that of an earlier build: python -m benchmarks.builds --before COMMIT

Both builds run side by side, each in a process of its own on one thread, and take the same step of an attack in turns: forward
and backward through k transforms and a small network. Prints the median ratio of their processor times, with a 95 % interval
over rounds (bootstrap), and whether both came to the same images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]

STEP = """
import hashlib, sys, time
import torch
from torch import nn
from bart import Ball, Barrage, Classifier, Defended, Eot, Goal, Mirror, Pgd
k, side, images, draws = map(int, sys.argv[1:])
torch.set_num_threads(1)
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10))
defended = Defended(Classifier(network, (0.5,) * 3, (0.25,) * 3, (side, side)), Barrage(k))
x, label = torch.rand(images, 3, side, side), torch.arange(images) % 10
attack = Pgd(Ball("linf", 8 / 255), 1000, 2 / 255, True, Eot(draws))
state = attack.start(x, Goal(label, torch.full_like(label, -1)), Mirror.of(torch.arange(images), "cpu"))
for line in sys.stdin:
    began = time.process_time()
    state = attack.step(state, defended, images * draws)
    spent = time.process_time() - began
    print(spent, hashlib.sha256(state.x.numpy().tobytes()).hexdigest(), flush=True)
"""


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit."""
    with tempfile.TemporaryDirectory(prefix="build-") as folder:
        tar = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=tar, check=True)
        yield Path(folder)


class Build:
    """A process of one build that takes a step when told to."""

    def __init__(self, folder: Path, setting: tuple[int, ...]) -> None:
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-c", STEP, *map(str, setting)]
        self.process = subprocess.Popen(
            arguments, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self) -> tuple[float, str]:
        """Return the processor time of the next step, and the hash of the images after it."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        spent, images = self.process.stdout.readline().split()
        return float(spent), images

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def ratio(times: np.ndarray) -> tuple[float, float, float]:
    """Return the median of after over before, and the ends of its 95 % interval, of rounds (n, 2)."""
    ratios, chance = times[:, 1] / times[:, 0], np.random.default_rng(0)
    medians = np.median(chance.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


def main() -> None:
    """Print a line a setting."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--before", required=True, help="a commit")
    options.add_argument("--rounds", type=int, default=40)
    asked = options.parse_args()
    with checkout(asked.before) as before:
        for k, side, images, draws in ((5, 224, 2, 4), (10, 224, 2, 4), (5, 32, 16, 4), (10, 32, 16, 4)):
            builds = [Build(folder, (k, side, images, draws)) for folder in (before, ROOT)]
            steps = [[build.step() for build in builds] for _ in range(asked.rounds + 3)][3:]  # the first ones compile
            for build in builds:
                build.close()
            middle, low, high = ratio(np.array([[spent for spent, _ in both] for both in steps]))
            same = "the same images" if all(one == other for (_, one), (_, other) in steps) else "other images"
            print(
                f"k = {k}, {side} px, {images} images of {draws} draws: {middle:.3f} [{low:.3f}, {high:.3f}], {same}",
                flush=True,
            )


if __name__ == "__main__":
    main()
