"""Measure how often `barrage check` fails by luck, and what it finds: python -m benchmarks.deep.false_alarms

A run compares some fifteen accuracies on a few images. Here all of them are of attacks that are alike: each image has a chance
to be classified right, each attack moves it by its own luck, and draws are counted. Three of the comparisons are of neighbours
on a curve, as in a run. Lines: how images are spread; then, for each number of images, the share of runs in % that fail

    before     each comparison alone, by the normal 95 % interval: the rule of release 0.1
    now        all comparisons together: `pipeline.campaigns.check.judgement`
    finds      now, before -> now, where one of the variants leaves 20, 40 and 60 points less than the attack in use

Coins are the worst case: one draw decides, and images are as likely right as wrong.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.random import Generator, default_rng

from benchmarks.deep.setting import Array
from pipeline.campaigns.check.judgement import LITTLE, Judge, never_rises, not_beaten_by, passed
from pipeline.scoring.intervals import paired_difference

RIVALS = tuple(f"rival-{i}" for i in range(12))
CURVE = ("eps-x0.25", "eps-x0.5", "base", "eps-x2")
CHECKS: tuple[Judge, ...] = (*map(not_beaten_by, RIVALS), never_rises(CURVE))
NAMES = (*CURVE, *RIVALS)
SIZES = (2, 4, 8, 20, 50)
LESS = (0.2, 0.4, 0.6)

Chances = Callable[[Generator, int], Array]
"""Return the chance of each image and attack to be right, (images, attacks), for a number of images."""


def spread(a: float, b: float, luck: float) -> Chances:
    """Return chances whose image part is beta(a, b), and which the luck of each attack moves by that deviation."""

    def chances(random: Generator, images: int) -> Array:
        return np.clip(random.beta(a, b, (images, 1)) + luck * random.standard_normal((images, len(NAMES))), 0, 1)

    return chances


SPREADS: dict[str, tuple[Chances, int]] = {
    "coins": (spread(1e6, 1e6, 0.0), 1),
    "images of all kinds, 20 draws": (spread(0.5, 0.5, 0.1), 20),
    "images of all kinds, 1 draw": (spread(0.5, 0.5, 0.1), 1),
    "few images right, 20 draws": (spread(0.2, 2.0, 0.1), 20),
    "all images alike, 5 draws": (spread(30.0, 30.0, 0.05), 5),
}
"""{how images are spread: (the chances, draws of each image)}."""


def run(random: Generator, chances: Chances, draws: int, images: int, less: float) -> dict[str, Mapping[str, float]]:
    """Return the accuracies of all variants of one run; the last rival leaves `less` where there is so much to lose."""
    found = chances(random, images)
    found[:, -1] = np.maximum(0, found[:, -1] - less)
    shares = random.binomial(draws, found) / draws
    return {
        name: {str(i): share for i, share in enumerate(column)} for name, column in zip(NAMES, shares.T.tolist(), strict=True)
    }


def before(accuracies: Mapping[str, Mapping[str, float]]) -> bool:
    """Return whether release 0.1 fails the run."""
    pairs = [(name, "base") for name in RIVALS] + list(pairwise(CURVE))
    for a, b in pairs:
        difference, half = paired_difference(*(list(accuracies[name].values()) for name in (a, b)))
        if -difference > max(LITTLE, half):
            return True
    return False


def now(accuracies: Mapping[str, Mapping[str, float]]) -> bool:
    """Return whether the checks fail the run."""
    return False in passed([judge(accuracies) for judge in CHECKS])


def failing(chances: Chances, draws: int, images: int, less: float, runs: int) -> tuple[float, float]:
    """Return the share of runs that fail, before and now."""
    random = default_rng([images, int(100 * less)])
    found = np.array([(before(one), now(one)) for one in (run(random, chances, draws, images, less) for _ in range(runs))])
    return float(found[:, 0].mean()), float(found[:, 1].mean())


def lines(runs: int) -> Iterator[str]:
    error = 100 * math.sqrt(0.05 * 0.95 / runs)
    yield f"{runs} runs of {len(RIVALS) + len(CURVE) - 1} comparisons; the standard error of 5 % is {error:.1f}"
    for name, (chances, draws) in SPREADS.items():
        yield name
        for images in SIZES:
            old, new = failing(chances, draws, images, 0.0, runs)
            finds = [failing(chances, draws, images, less, runs // 4) for less in LESS] if images >= 8 else []
            text = "   ".join(f"{100 * a:3.0f} -> {100 * b:3.0f}" for a, b in finds)
            yield f"  {images:3} images   fail by luck {100 * old:4.1f} -> {100 * new:4.1f}" + (
                f"   finds {text}" if text else ""
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    for line in lines(parser.parse_args().runs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
