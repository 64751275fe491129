"""Measure what a stop rule does to the accuracy at which it stops: python -m benchmarks.deep.peeking

A cell with a stop rule is checked after each of up to 20 rounds, and ends once its interval is narrow enough. Images have 5
draws; they are alike, or spread by a beta distribution with a + b = 0.5. Lines, for true accuracies:

    coverage  how often the interval at the stop holds the truth, in %
    bias      the mean accuracy at the stop minus the truth, in points
    images    how many images a cell needs, in the mean
    gap       of two cells with the same truth and images of their own: how often their intervals at the stop do not meet, in %
"""

import argparse
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.random import Generator, default_rng

from benchmarks.deep.setting import Array
from benchmarks.intervals import Counts, alike, beta
from pipeline.scoring.intervals import Sample

RULES = ((0.02, 500, 5000), (0.04, 100, 1000), (0.1, 20, 400))
"""Half-width at which a cell stops, images from which it is checked, images in all."""

TRUTHS = (0.01, 0.05, 0.3, 0.5, 0.9)
KINDS: dict[str, Counts] = {"alike": alike, "beta": partial(beta, 0.5)}
SHARES = np.arange(6) / 5


def stopped(random: Generator, counts: Counts, truth: float, rule: tuple[float, int, int], cells: int) -> Array:
    """Return the accuracy, both ends of its interval and the number of images of each cell at its stop, (cells, 4)."""
    narrow, least, images = rule
    rounds = random.multinomial(images // 20, counts(5, truth), (cells, 20)).cumsum(1).astype(float)
    found = np.empty((cells, 4))
    for cell, sums in enumerate(rounds):
        for seen in sums[sums.sum(1) >= least]:
            rate = Sample(SHARES, seen).rate
            assert rate
            found[cell] = rate.value, rate.low, rate.high, rate.images
            if (rate.high - rate.low) / 2 <= narrow:
                break
    return found


def line(counts: Counts, truth: float, rule: tuple[float, int, int], cells: int) -> str:
    """Return the figures of one truth."""
    value, low, high, images = stopped(default_rng([rule[1], int(1000 * truth)]), counts, truth, rule, cells).T
    coverage, bias = ((low <= truth) & (truth <= high)).mean(), (value - truth).mean()
    gap = (np.maximum(low[::2], low[1::2]) > np.minimum(high[::2], high[1::2])).mean()
    error = value.std() / cells**0.5
    return (
        f"coverage {100 * coverage:5.1f}   bias {100 * bias:+5.2f} +-{100 * error:.2f}   images {images.mean():6.0f}   "
        f"gap {100 * gap:4.1f}"
    )


def lines(cells: int) -> Iterator[str]:
    for rule in RULES:
        yield f"half-width {100 * rule[0]:g} points, from {rule[1]} of {rule[2]} images, {cells} cells"
        for name, counts in KINDS.items():
            for truth in TRUTHS:
                yield f"  {name:<5} {100 * truth:3.0f} %   {line(counts, truth, rule, cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=400)
    for text in lines(parser.parse_args().cells):
        print(text, flush=True)


if __name__ == "__main__":
    main()
