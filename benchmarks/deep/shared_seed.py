"""Measure whether images under one seed share their luck: python -m benchmarks.deep.shared_seed

All draws of a campaign follow from one seed. If draw j were easy for all images at once, the accuracy over draws would spread
more than its images allow. CIFAR-10 images behind 5 transforms, clean, each judged by many draws:

    ratio        the variance over draws of the accuracy, divided by that of independent images, with its standard error
    correlation  mean correlation of being right of two images over draws, with its standard error

Beside it the same images under keys that do leave the image out: what the figures would be if the draws were shared.
"""

import argparse

import numpy as np
import torch

from bart import judge, key
from benchmarks.deep.setting import STACK, Array, Bench, mirror


def rights(bench: Bench, draws: int, shared: bool) -> Array:
    """Return which draws are right of each image, (images, draws); `shared`: draw j is the same for every image."""
    stored = (255 * bench.x).round().to(torch.uint8)
    if not shared:
        return bench.right(stored, draws, "shared seed")
    keys = mirror([key("deep", "shared seed")] * len(bench.x))
    top5 = judge(bench.defended, stored, keys, draws, STACK).top5
    return (top5[:, :, 0] == bench.goal.label[:, None]).double().numpy()


def summary(right: Array) -> str:
    """Return ratio and correlation of `right` (images, draws)."""
    moving = right[(right.mean(1) > 0) & (right.mean(1) < 1)]
    ratio = right.mean(0).var(ddof=1) / (right.var(1, ddof=1).sum() / len(right) ** 2)
    pairs = np.corrcoef(moving)[np.triu_indices(len(moving), 1)]
    draws = right.shape[1]
    return (
        f"ratio {ratio:5.2f} +-{(2 / (draws - 1)) ** 0.5:.2f}   "
        f"correlation {pairs.mean():+.4f} +-{(1 / (draws - 1) / len(pairs)) ** 0.5:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--draws", type=int, default=200)
    args = parser.parse_args()
    bench = Bench.of(args.images, 5)
    print(f"{args.images} CIFAR-10 images, k = 5, {args.draws} draws of each")
    for name, shared in (("as campaigns draw", False), ("draws shared by images", True)):
        print(f"  {name:<23} {summary(rights(bench, args.draws, shared))}", flush=True)


if __name__ == "__main__":
    main()
