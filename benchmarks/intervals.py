"""Measure how often intervals cover the truth, and how wide they are, beside release 0.1: python -m benchmarks.intervals

A cell of a table holds the lowest coverage in % of its scenarios, before -> now: means of .1 to 99.7 %, 1 to 100 draws.
`--quick` takes few samples, of 20 and 150 images. Seeds are fixed: the same program prints the same figures.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from scipy.stats import betabinom, binom

from benchmarks.interval_scenarios import (
    PAIRS,
    Array,
    Pair,
    at_stop,
    covered,
    held,
    normal,
    wilson_at_effective_size,
)
from pipeline.scoring.evidence import UNSEEN
from pipeline.scoring.intervals import mean_difference, rate
from pipeline.scoring.worst_case import judged_apart

Sizes = tuple[int, ...]
"""Numbers of images."""

Counts = Callable[[int, float], Array]
"""Returns the probability of each count of right draws, (draws + 1,), given the draws of an image and the mean over images."""

DRAWS = (1, 5, 20, 100)
MEANS = (0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.2, 0.3, 0.5, 0.8, 0.9, 0.97, 0.997)
WIDTHS = 20
"""Samples whose widths are compared."""


def alike(draws: int, mean: float) -> Array:
    return binom.pmf(np.arange(draws + 1), draws, mean)


def beta(total: float, draws: int, mean: float) -> Array:
    return betabinom.pmf(np.arange(draws + 1), draws, mean * total, (1 - mean) * total)


def mixture(share: float, rare: float, others: float, draws: int, mean: float) -> Array:
    return share * alike(draws, rare) + (1 - share) * alike(draws, others)


SPREADS: dict[str, tuple[Counts, tuple[float, ...]]] = {
    "all images alike": (alike, MEANS),
    **{f"beta, a + b = {total:g}": (partial(beta, total), MEANS) for total in (0.1, 0.5, 1, 2, 10)},
    **{
        f"{100 * share:g} % at {rare:g}, others {others:g}": (
            partial(mixture, share, rare, others),
            (share * rare + (1 - share) * others,),
        )
        for share, rare, others in ((0.03, 0.8, 0.02), (0.03, 0.2, 0.98), (0.01, 0.8, 0.02), (0.1, 0.8, 0.0))
    },
}
"""{how chances are spread over images: (the counts, the means)}."""


class Found(NamedTuple):
    """Hold coverage before and now, in [0, 1], and the ratio of widths now to before, NaN where it is not asked."""

    before: float
    now: float
    ratio: float = math.nan


def one_rate(random: Generator, counts: Counts, mean: float, images: int, draws: int, samples: int) -> Found:
    drawn, shares = random.multinomial(images, counts(draws, mean), samples).astype(float), np.arange(draws + 1) / draws
    low, high = wilson_at_effective_size(drawn, shares)
    before, now = covered(low, high, mean), held(drawn, shares, mean, 0.0) / samples
    if images < 100 or not 0.2 <= mean <= 0.8:
        return Found(before, now)
    some = [rate(np.repeat(shares, row.astype(int))) for row in drawn[:WIDTHS]]
    return Found(before, now, float(np.mean([one.high - one.low for one in some if one]) / (high - low)[:WIDTHS].mean()))


def one_difference(random: Generator, pair: Pair, images: int, draws: int, samples: int) -> Found:
    """Return the coverage of a paired difference; 300,000 images are all there are."""
    a, b = (random.binomial(draws, chances) for chances in pair(random, 300_000))
    differences = np.arange(-draws, draws + 1) / draws
    share = np.bincount(a - b + draws, minlength=2 * draws + 1) / 300_000
    drawn, truth = random.multinomial(images, share, samples).astype(float), float(share @ differences)
    low, high = normal(drawn, differences)
    before, now = covered(low, high, truth), held(drawn, (differences + 1) / 2, (truth + 1) / 2, UNSEEN) / samples
    some = [mean_difference(np.repeat(differences, row.astype(int))) for row in drawn[:WIDTHS]]
    width = (high - low)[:WIDTHS].mean()
    return Found(before, now, float(np.mean([one.high - one.low for one in some if one]) / width) if width else math.nan)


def worst(random: Generator, attacks: int, alike: float, images: int, draws: int, samples: int) -> Found:
    """Return the coverage of the accuracy under the worst of attacks; `alike` in [0, 1]: how equal their chances are."""

    def chances(*shape: int) -> Array:
        of_image, of_attack = random.beta(0.5, 0.7, (*shape, 1)), random.beta(0.5, 0.7, (*shape, attacks))
        return alike * of_image + (1 - alike) * of_attack

    truth = float(chances(400_000).min(1).mean())
    shares = random.binomial(draws, chances(samples, images)) / draws
    possible = np.arange(draws + 1) / draws
    least = np.rint(draws * shares.min(2)).astype(int)
    drawn = np.stack([np.bincount(row, minlength=draws + 1) for row in least]).astype(float)
    before = covered(*wilson_at_effective_size(drawn, possible), truth)
    apart = judged_apart(shares.reshape(-1, attacks), np.full((samples * images, attacks), draws)).reshape(samples, images)
    low = np.array([one.low for row in shares.min(2) if (one := rate(row))])
    high = np.array([one.high for row in apart if (one := rate(row))])
    return Found(before, covered(low, high, truth))


def persistent(random: Generator, counts: Counts, mean: float, images: int, m: int, samples: int) -> Found:
    """Return the coverage of the chance that m draws of an image are all right, from 20 draws of each."""
    share = counts(20, mean)
    all_right = np.array([math.comb(c, m) / math.comb(20, m) for c in range(21)])
    drawn, truth = random.multinomial(images, share, samples).astype(float), float(share @ all_right)
    return Found(covered(*wilson_at_effective_size(drawn, all_right), truth), held(drawn, all_right, truth, 0.0) / samples)


def stop(random: Generator, counts: Counts, mean: float, narrow: float, least: int, images: int, samples: int) -> Found:
    """Return the coverage at the stop, 5 draws an image, after up to 20 rounds; before: of release 0.1 at its own stop."""
    shares, rounds = np.arange(6) / 5, np.arange(1, 21) * images // 20
    drawn = random.multinomial(images // 20, counts(5, mean), (samples, 20)).cumsum(1)[:, rounds >= least].astype(float)
    low, high = wilson_at_effective_size(drawn.reshape(-1, 6), shares)
    ends = np.stack([low, high], -1).reshape(samples, -1, 2)
    enough = (ends[:, :, 1] - ends[:, :, 0]) / 2 <= narrow
    enough[:, -1] = True
    before = ends[np.arange(samples), enough.argmax(1)]
    now = np.array([at_stop(cell, shares, narrow) for cell in drawn])
    return Found(covered(before[:, 0], before[:, 1], mean), covered(now[:, 0], now[:, 1], mean))


Rows = dict[str, list[list[Found]]]
"""{row of a table: the scenarios of each cell}."""


def table(head: str, rows: Rows, names: Iterable[str]) -> Iterator[str]:
    """Return a Markdown table of the lowest coverage of each cell, before -> now, and how many scenarios are below 94 %."""
    columns = [head, *names]
    yield "| " + " | ".join(columns) + " |"
    yield "| --- " * len(columns) + "|"
    for name, cells in rows.items():
        texts = [f"{100 * min(f.before for f in cell):.1f} -> {100 * min(f.now for f in cell):.1f}" for cell in cells]
        yield "| " + " | ".join([name, *texts]) + " |"
    every = [found for cells in rows.values() for cell in cells for found in cell]
    before, now = (sum(getattr(found, side) < 0.94 for found in every) for side in ("before", "now"))
    yield f"\nBelow 94 %: {before} of {len(every)} scenarios before, {now} now."


def widths(found: Iterable[Found]) -> str:
    ratios = [one.ratio for one in found if not math.isnan(one.ratio)]
    return f"{min(ratios):.2f} to {max(ratios):.2f}, median {np.median(ratios):.2f}"


def rates(samples: int, sizes: Sizes) -> Iterator[str]:
    rows: Rows = {}
    for name, (counts, means) in SPREADS.items():
        kinds = [(draws, mean) for draws in DRAWS for mean in means if draws > 1 or counts is alike]
        rows[name] = [
            [one_rate(default_rng([n, draws, int(1e4 * mean)]), counts, mean, n, draws, samples) for draws, mean in kinds]
            for n in sizes
        ]
    yield from table("rates, images:", rows, map(str, sizes))
    ratios = widths(one for cells in rows.values() for cell in cells for one in cell)
    yield f"Widths now to before, means of 20 to 80 %, 100 images or more: {ratios}."


def differences(samples: int, sizes: Sizes) -> Iterator[str]:
    rows: Rows = {}
    for name, pairs in PAIRS.items():
        kinds = [(draws, pair) for draws in DRAWS for pair in pairs]
        rows[name] = [
            [one_difference(default_rng([n, draws]), pair, n, draws, samples) for draws, pair in kinds] for n in sizes
        ]
    yield from table("differences, images:", rows, map(str, sizes))
    for place, n in enumerate(sizes):
        yield f"Widths now to before, {n:,} images: {widths(one for cells in rows.values() for one in cells[place])}."


def worst_cases(samples: int, sizes: Sizes) -> Iterator[str]:
    rows: Rows = {}
    for attacks in (2, 6):
        for words, like in (("equal on each image", 1.0), ("alike", 0.7), ("of any kind", 0.0)):
            rows[f"{attacks} attacks, {words}"] = [
                [worst(default_rng([n, draws]), attacks, like, n, draws, samples) for draws in (5, 20)] for n in sizes
            ]
    return table("worst case, images:", rows, map(str, sizes))


def persistences(samples: int, sizes: Sizes) -> Iterator[str]:
    kinds = [(counts, mean) for counts in (alike, partial(beta, 0.5), partial(beta, 2)) for mean in (0.02, 0.3, 0.7, 0.95)]
    rows: Rows = {}
    for m in (2, 5, 20):
        rows[f"{m} of 20 draws"] = [[persistent(default_rng([n, m]), *kind, n, m, samples) for kind in kinds] for n in sizes]
    return table("persistence, images:", rows, map(str, sizes))


def stops(samples: int, sizes: Sizes) -> Iterator[str]:
    means, kinds = (0.01, 0.02, 0.05, 0.3, 0.5, 0.9), (alike, partial(beta, 0.5), partial(beta, 2))
    rows: Rows = {}
    for narrow, least, images in ((0.02, 500, 5000), (0.04, 100, 1000), (0.1, 20, 400)):
        rows[f"half-width {100 * narrow:g} points, from {least} of {images}"] = [
            [stop(default_rng(least), counts, mean, narrow, least, images, samples) for counts in kinds] for mean in means
        ]
    return table("stop rule, true accuracy in %:", rows, (f"{100 * mean:g}" for mean in means))


SECTIONS: dict[str, tuple[Callable[[int, Sizes], Iterator[str]], int]] = {
    "rates": (rates, 4000),
    "differences": (differences, 4000),
    "worst case": (worst_cases, 1000),
    "persistence": (persistences, 4000),
    "stop rule": (stops, 4000),
}
"""{section: (its lines for a number of samples of each scenario, that number)}."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few samples, of 20 and 150 images")
    quick = parser.parse_args().quick
    for name, (lines, samples) in SECTIONS.items():
        samples, sizes = (samples // 20, (20, 150)) if quick else (samples, (10, 20, 50, 150, 1000))
        error = 100 * math.sqrt(0.95 * 0.05 / samples)
        print(f"\n{name}: {samples:,} samples of each scenario, the standard error of 95 % is {error:.1f}\n")
        for line in lines(samples, sizes):
            print(line, flush=True)


if __name__ == "__main__":
    main()
