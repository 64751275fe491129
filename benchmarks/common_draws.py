"""Measure how much narrower the interval of a difference gets by common draws: python -m benchmarks.common_draws [--images 100]

Two attacks on one BaRT-trained ResNet20 behind k transforms, on CIFAR-10: the article's PGD, and the default with momentum.
Their examples are made once. They are judged in both ways from one run: by draws that the two attacks share, as campaigns do,
and by draws that depend on the cell's name, as they did before. A line for each number of draws an image:

    own, common    half the 95 % interval of the paired difference over images, in points, the mean over repeats by other draws
    share          common / own
    noise          spread (standard deviation) of the difference over these repeats, in points: what chance in the draws does;
                   a rough figure where draws are many and repeats few

Then the same for the clean accuracy under the two attacks, whose difference is 0.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bart import Defended, Goal, Mirror, judge, key, lanes
from pipeline.campaigns import image_keys
from pipeline.campaigns.prepare import resolve
from pipeline.config.campaign import Cell, parse
from pipeline.data import shards
from pipeline.models import loading
from pipeline.scoring.intervals import paired_difference

SHARD, WEIGHTS = "../shared/data/cifar10/cifar10-test-000000.tar", "campaigns/weights/cifar10-bart.safetensors"
STACK = 128
Right = np.ndarray[tuple[int, int], np.dtype[np.bool_]]
"""Whether each draw of each image is right, (images, draws)."""


def cells(k: int, steps: int) -> list[Cell]:
    """Return the two cells: one defense under two attacks."""
    attack = {"eps": "8/255", "steps": steps, "eot_draws": 5}
    content = {
        "name": "common-draws",
        "data": {"shards": SHARD, "resize": None, "crop": 32},
        "models": {"bart": {"architecture": "resnet20_cifar", "classes": 10, "weights": WEIGHTS}},
        "defenses": {f"bart{k}": {"k": k}},
        "attacks": {"article": attack | {"step_size": "1/255", "momentum": 0}, "default": attack},
        "cells": [{"model": "bart", "defense": f"bart{k}", "attack": ["article", "default"]}],
    }
    return list(resolve(parse(content, "benchmark")).grid())


class Bench:
    """Hold the images, and the defended model of some cells."""

    def __init__(self, images: int, some: list[Cell]) -> None:
        self.device, self.cells = torch.device("cuda" if torch.cuda.is_available() else "cpu"), some
        shard = shards.inspect(SHARD)
        samples = shards.read(shard, range(min(images, shard.images)))
        self.names = [(shard.name, sample.key) for sample in samples]
        self.label = torch.tensor([sample.label for sample in samples], device=self.device)
        pixels = [torch.from_numpy(shards.decode(sample.image, None, 32)) for sample in samples]
        self.clean = torch.stack(pixels).to(self.device)
        model = loading.classifier(some[0].model, 32, self.device)
        self.defended: Defended = some[0].defense.defended(model, {})

    def attacked(self, cell: Cell) -> Tensor:
        """Return the examples of a cell, (n, 3, 32, 32) uint8."""
        attack, clean = cell.built, self.clean.float() / 255
        goal = Goal(self.label, torch.full_like(self.label, -1))
        state = attack.start(clean, goal, image_keys.to_attack(cell, self.names, self.device))
        while not lanes.over(state, attack):
            state = lanes.step(attack, state, self.defended, STACK, len(clean))
        return attack.ball.store(attack.result(state), clean)

    def right(self, cell: Cell, stored: Tensor, common: bool, draws: int) -> Right:
        """Return which draws are right, by keys that all attacks share, or by those of the rule before."""
        keys = image_keys.to_judge(cell, self.names, self.device) if common else self.by_name(cell)
        return (judge(self.defended, stored, keys, draws, STACK).top5[:, :, 0] == self.label[:, None]).cpu().numpy()

    def by_name(self, cell: Cell) -> Mirror:
        """Return keys by the rule before: from the seed, the cell's name and the image."""
        return Mirror.of(torch.tensor([key(cell.seed, cell.name, image) for _, image in self.names]), self.device)


def compared(pair: list[Right], draws: int) -> tuple[float, float]:
    """Return the mean half-width of the difference, and its spread over repeats by other draws, in points."""
    repeats = [slice(first, first + draws) for first in range(0, pair[0].shape[1] - draws + 1, draws)]
    found = [paired_difference(*(right[:, some].mean(1) for right in pair)) for some in repeats]
    return 100 * float(np.mean([half for _, half in found])), 100 * float(np.std([value for value, _ in found], ddof=1))


def table(bench: Bench, most: int, counts: list[int]) -> Iterator[str]:
    """Yield the lines of one defense; `most` draws of each image are cut into repeats."""
    examples = [bench.attacked(cell) for cell in bench.cells]
    for what, stored in (("attacked", examples), ("clean", [bench.clean] * 2)):
        sides = {}
        for common in (False, True):
            sides[common] = [bench.right(cell, x, common, most) for cell, x in zip(bench.cells, stored, strict=True)]
        first, second = (100 * float(right.mean()) for right in sides[True])
        yield f"  {what}: {first:.1f} % under the first, {second:.1f} % under the second"
        for draws in counts:
            (own, noise), (common_half, common_noise) = (compared(sides[common], draws) for common in (False, True))
            yield (
                f"    {draws:3} draws   own ±{own:5.2f}   common ±{common_half:5.2f}   share {common_half / own:4.2f}   "
                f"noise {noise:5.2f} -> {common_noise:5.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--ks", type=int, nargs="*", default=[5, 10])
    parser.add_argument("--steps", type=int, default=10, help="steps of both attacks, of 5 draws each")
    parser.add_argument("--draws", type=int, nargs="*", default=[1, 5, 20])
    args = parser.parse_args()
    most = 4 * max(args.draws)
    print(
        f"{args.images} images, {most} evaluation draws of each in repeats, {args.steps} steps x 5 draws, eps 8/255", flush=True
    )
    for k in args.ks:
        print(f"k = {k}", flush=True)
        for line in table(Bench(args.images, cells(k, args.steps)), most, args.draws):
            print(line, flush=True)


if __name__ == "__main__":
    main()
