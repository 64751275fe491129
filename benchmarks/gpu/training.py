"""Predict which part of BaRT training the transforms take on a GPU, without a GPU: python -m benchmarks.gpu.training

A step takes a batch through k ~ U{0..5} transforms, forward only, and then trains a ResNet50 on it. The transforms' time is
that of `benchmarks.gpu_model`, by launches and bytes, times the factor by which a whole pass that was measured on an H100 took
longer than predicted. The network's is what it takes at least: a gradient in its input, as measured on the same GPU.
"""

import argparse

import torch

from bart import Barrage
from benchmarks.gpu_model import GPUS, Count, stack, triton

SLOWER = 56.3 / 24
"""Measured over predicted milliseconds of a pass of k = 10 (`docs/results/h100.txt`, `docs/results/gpu-model.txt`)."""
BARE = 6218.0
"""Images a second of a ResNet50 on an H100, forward and backward to its input (`docs/results/h100.txt`)."""


def predicted(batch: int, side: int) -> tuple[float, float]:
    """Return the seconds of the transforms of a batch and those of the network, on an H100."""
    count = Count(*GPUS["H100"])
    keys, x = stack(batch, side, "meta")
    barrage = Barrage(5, fewest=0)
    with torch.no_grad(), triton(count), count:
        barrage.apply(x.detach(), barrage.draw(keys, (side, side)))
    return SLOWER * count.nanoseconds.total() / 1e9, batch / BARE


def main() -> None:
    """Print one line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--batch", type=int, default=1024)
    options.add_argument("--side", type=int, default=224)
    asked = options.parse_args()
    lesson, model = predicted(asked.batch, asked.side)
    print(f"H100, predicted: of a step of {asked.batch} images of {asked.side} px the transforms take {1e3 * lesson:.0f} ms, "
          f"a ResNet50 at least {1e3 * model:.0f} ms: lesson / model at most {lesson / model:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
