"""Time the barrage of this build beside that of an earlier one: python -m benchmarks.gpu.passes --before COMMIT

Both builds run on the same GPU, each in a process of its own, and take passes in turns: k transforms forward and backward over
a stack. Prints milliseconds of a pass, those for which the host was queueing, and the peak memory, with the ratios of the
medians. Without a GPU, a stack of a few small images takes the place, on the CPU.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch

from benchmarks.side_by_side import ROOT, builds, checkout

WARM, STACKS = 3, 3
"""Passes of each stack before the first that counts: they compile, and record; and how many stacks take turns."""

PASS = """
import json, sys, time
import torch
from bart import Barrage, Mirror, key
k, draws, side, stacks = map(int, sys.argv[1:])
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
barrage = Barrage(k)
x = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)).repeat(-(-draws // 4), 1, 1, 1)[:draws].to(device)
x = torch.nn.functional.avg_pool2d(x, 5, 1, 2).requires_grad_()
keys = [Mirror.of(torch.tensor([key("passes", j, i) for i in range(draws)]), device) for j in range(stacks)]
for number, line in enumerate(sys.stdin):
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    wait()
    began = time.perf_counter()
    y = barrage.apply(x, barrage.draw(keys[number % stacks], (side, side)))
    torch.autograd.grad(y, x, torch.ones_like(y))
    queued = time.perf_counter() - began
    wait()
    spent = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() - before if device.type == "cuda" else 0
    print(json.dumps([1e3 * spent, 1e3 * queued, peak / 1e9]), flush=True)
"""


def compared(folders: dict[str, Path], k: int, draws: int, side: int, rounds: int) -> str:
    """Return in words how the builds compare."""
    taken: dict[str, list[list[float]]] = {name: [] for name in folders}
    with builds(folders.values(), "-c", PASS, k, draws, side, STACKS) as several:
        for number in range(STACKS * (WARM + rounds)):
            for name, build in zip(folders, several, strict=True):
                found = json.loads(build.ask())
                if number >= STACKS * WARM:
                    taken[name].append(found)
    middle = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in taken.items()}
    words = [
        f"{name} {ms:.1f} ms, of which queueing {queued:.1f}, peak {gb:.2f} GB" for name, (ms, queued, gb) in middle.items()
    ]
    if len(middle) == 2:
        (ms, queued, _), (ms_before, queued_before, _) = middle["this build"], middle["before"]
        words.append(f"{ms_before / ms:.2f} times as fast, queueing {queued / queued_before:.2f} of before")
    return f"k = {k}, {draws} draws of {side} px: {'; '.join(words)}"


def main() -> None:
    """Print a line a setting."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--before", help="a commit; default: only this build")
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    settings = ((10, 512, 224), (5, 512, 224), (5, 512, 32)) if torch.cuda.is_available() else ((10, 8, 32),)
    if asked.before is None:
        for setting in settings:
            print(compared({"this build": ROOT}, *setting, asked.rounds), flush=True)
        return
    with checkout(asked.before) as before:
        for setting in settings:
            print(compared({"before": before, "this build": ROOT}, *setting, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
