"""Compare the step of an attack with that of an earlier build: python -m benchmarks.builds --before COMMIT

Both builds run side by side, each in a process of its own on one thread, and take the same step in turns: forward and backward
through k transforms and a network, a small one or EfficientNet-Lite0, in bfloat16 if the processor has it and in float32
("single"). Memory is handled as by a worker of that build. Prints the median ratio of their processor times, with a 95 %
interval over rounds (bootstrap), that of their peak memories, and how far apart their images are.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.side_by_side import ROOT, builds, checkout, ratio

WARM = 3
"""Steps before the first that counts: they compile."""

STEP = """
import os, sys, time
import torch
from torch import nn
from bart import Ball, Barrage, Classifier, Defended, Eot, Goal, Mirror, Pgd
from bart import native_half
name, k, side, images, draws = sys.argv[1], *map(int, sys.argv[2:])
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
    torch.save(state.x, line.strip())
    print(spent, flush=True)
"""


LITE0 = [(0, 224, 4, 1), (5, 224, 2, 2), (10, 224, 2, 2)]
SETTINGS = {
    "small": [(5, 224, 2, 4), (10, 224, 2, 4), (5, 32, 16, 4), (10, 32, 16, 4)],
    "lite0": LITE0,
    "single": LITE0,
}
"""Of each network: k, the side of images, their number, and draws of each."""


def compared(folders: tuple[Path, Path], name: str, setting: tuple[int, ...], rounds: int) -> str:
    """Return in words how two builds compare in one setting."""
    with tempfile.TemporaryDirectory(prefix="seen-") as seen, builds(folders, "-c", STEP, name, *setting) as both:
        times = []
        for number in range(WARM + rounds):
            times.append([float(build.ask(f"{seen}/{i}.pt")) for i, build in enumerate(both)])
            if number == WARM:
                first, second = (torch.load(f"{seen}/{i}.pt") for i in range(2))
        before, after = (build.memory() for build in both)
    middle, low, high = ratio(np.array(times[WARM:]))
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
