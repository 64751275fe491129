"""Compare the step of an attack with that of an earlier build: python -m benchmarks.builds --before COMMIT

Both builds run side by side, each in a process of its own on one thread, and take the same step in turns: forward and backward
through k transforms and a network, a small one or EfficientNet-Lite0, in bfloat16 if the processor has it and in float32
("single"). Memory is handled as by a worker of that build. Prints the median ratio of their processor times, with a 95 %
interval over rounds (bootstrap), that of their peak memories, and how far apart their images are.
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
import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]

WARM = 3
"""Steps before the first that counts: they compile."""

STEP = """
import os, sys, time
import torch
from torch import nn
from bart import Ball, Barrage, Classifier, Defended, Eot, Goal, Mirror, Pgd
from bart import native_half
name, (k, side, images, draws), seen = sys.argv[1], map(int, sys.argv[2:6]), sys.argv[6]
torch.set_num_threads(1)
try:
    from pipeline.execution.worker import keep_memory
    keep_memory()
except ImportError:  # an earlier build
    pass
if name != "small":
    from pipeline.config.campaign import Model
    from pipeline.models import loading
    network = loading.build(Model(architecture="efficientnet_lite0"))
else:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10))
half = native_half(torch.device("cpu")) if name == "lite0" else None
defended = Defended(Classifier(network, (0.5,) * 3, (0.25,) * 3, (side, side), half), Barrage(k))
torch.manual_seed(1)
x, label = torch.rand(images, 3, side, side), torch.arange(images) % 10
attack = Pgd(Ball("linf", 8 / 255), 1000, 2 / 255, True, Eot(draws))
state = attack.start(x, Goal(label, torch.full_like(label, -1)), Mirror.of(torch.arange(images), "cpu"))
for line in sys.stdin:
    began = time.process_time()
    state = attack.step(state, defended, images * draws)
    spent = time.process_time() - began
    torch.save(state.x, seen)
    print(spent, flush=True)
"""


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit."""
    with tempfile.TemporaryDirectory(prefix="build-") as folder:
        tar = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=tar, check=True)
        yield Path(folder)


LITE0 = [(0, 224, 4, 1), (5, 224, 2, 2), (10, 224, 2, 2)]
SETTINGS = {
    "small": [(5, 224, 2, 4), (10, 224, 2, 4), (5, 32, 16, 4), (10, 32, 16, 4)],
    "lite0": LITE0,
    "single": LITE0,
}
"""Of each network: k, the side of images, their number, and draws of each."""


class Build:
    """Run one build in a process of its own, step by step."""

    def __init__(self, folder: Path, name: str, setting: tuple[int, ...], seen: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-c", STEP, name, *map(str, setting), seen]
        self.seen = seen
        self.process = subprocess.Popen(
            arguments, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self) -> tuple[float, Tensor]:
        """Return the processor time of the next step, and the images after it."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()), torch.load(self.seen)

    def memory(self) -> int:
        """Return the most memory that the process has held, in kB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def ratio(times: np.ndarray) -> tuple[float, float, float]:
    """Return the median of before over after, and the ends of its 95 % interval, of rounds (n, 2)."""
    ratios, chance = times[:, 0] / times[:, 1], np.random.default_rng(0)
    medians = np.median(chance.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


def compared(folders: tuple[Path, Path], name: str, setting: tuple[int, ...], rounds: int) -> str:
    """Return in words how two builds compare in one setting."""
    with tempfile.TemporaryDirectory(prefix="seen-") as seen:
        builds = [Build(folder, name, setting, f"{seen}/{i}.pt") for i, folder in enumerate(folders)]
        steps = [[build.step() for build in builds] for _ in range(rounds + WARM)][WARM:]
        before, after = (build.memory() for build in builds)
        for build in builds:
            build.close()
    middle, low, high = ratio(np.array([[spent for spent, _ in both] for both in steps]))
    first, second = (images for _, images in steps[0])
    apart = float((first != second).float().mean())
    k, side, images, draws = setting
    return (
        f"{name}, k = {k}, {side} px, {images} images of {draws} draws: {middle:.3f} times as fast [{low:.3f}, {high:.3f}]; "
        f"peak memory {after / before:.3f} times; "
        f"{'the same images' if not apart else f'{100 * apart:.2g} % of values differ after {WARM + 1} steps'}"
    )


def main() -> None:
    """Print a line a setting."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--before", required=True, help="a commit")
    options.add_argument("--network", choices=SETTINGS, nargs="+", default=list(SETTINGS))
    options.add_argument("--rounds", type=int, default=40)
    asked = options.parse_args()
    with checkout(asked.before) as before:
        for name in asked.network:
            for setting in SETTINGS[name]:
                print(compared((before, ROOT), name, setting, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
