"""Measure how often intervals cover the truth, and how wide they are, beside those of release 0.1: python -m benchmarks.intervals

Each cell of a table is the lowest coverage in % over its scenarios, before -> now: means from .1 to 99.9 %, draws from 1 to 100.
`--quick` takes a tenth of the samples. Seeds are fixed: the same program prints the same figures.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.random import Generator

from pipeline.scoring.evidence import UNSEEN, mean_keeps, rate_end, rate_keeps
from pipeline.scoring.intervals import Z, difference, rate
from pipeline.scoring.worst_case import judged_apart

Array = np.ndarray[Any, np.dtype[Any]]
Chances = Callable[[Generator, tuple[int, int], float], Array]
"""Returns each image's chance to be right, (samples, images), given the shape and the mean over all images."""

IMAGES, DRAWS = (10, 20, 50, 150, 1000), (1, 5, 20, 100)
MEANS = (0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 0.99, 0.999)


def point(random: Generator, shape: tuple[int, int], mean: float) -> Array:
    return np.full(shape, mean)


def beta(total: float, random: Generator, shape: tuple[int, int], mean: float) -> Array:
    drawn = random.beta(mean * total, (1 - mean) * total, shape)
    return np.where(np.isnan(drawn), random.random(shape) < mean, drawn)  # NaN where both of its parts are below the smallest float


def mixture(share: float, rare: float, random: Generator, shape: tuple[int, int], mean: float) -> Array:
    """Return `rare` for a share of the images; the rest so that the mean is right."""
    return np.where(random.random(shape) < share, rare, (mean - share * rare) / (1 - share))


SPREADS: dict[str, tuple[Chances, tuple[float, ...]]] = {
    "all images alike": (point, MEANS),
    **{f"beta, a + b = {total:g}": (partial(beta, total), MEANS) for total in (0.1, 0.5, 1, 2, 10)},
    "3 % at .8, others .02": (partial(mixture, 0.03, 0.8), (0.0434,)),
    "3 % at .2, others .98": (partial(mixture, 0.03, 0.2), (0.9566,)),
    "1 % at .8, others .02": (partial(mixture, 0.01, 0.8), (0.0278,)),
    "10 % at .8, others 0": (partial(mixture, 0.1, 0.8), (0.08,)),
}
"""{how chances are spread over images: (the chances, their means)}."""


class Found(NamedTuple):
    """Hold coverage before and now, in [0, 1], and the ratio of widths now to before, NaN where it is not asked."""

    before: float
    now: float
    ratio: float = math.nan


def counted(right: Array, draws: int) -> Array:
    """Return how many images have each count of right draws: (samples, draws + 1)."""
    samples = len(right)
    flat = right + (draws + 1) * np.arange(samples)[:, None]
    return np.bincount(flat.ravel(), minlength=samples * (draws + 1)).reshape(samples, draws + 1).astype(np.float64)


def wilson_at_effective_size(shares: Array) -> tuple[Array, Array]:
    """Return the ends of release 0.1's intervals: Wilson's, at the effective sample size; shares (samples, images)."""
    n, mean = shares.shape[1], shares.mean(1)
    spread = shares.var(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(spread < 1e-14, n, np.maximum(n, mean * (1 - mean) / (spread / max(1, n - 1))))
    centre, half = mean + Z * Z / (2 * size), Z * np.sqrt(mean * (1 - mean) / size + Z * Z / (4 * size * size))
    scale = 1 + Z * Z / size
    return np.maximum(0, (centre - half) / scale), np.minimum(1, (centre + half) / scale)


@njit(cache=True)
def held(counts: Array, mean: float, added: float) -> int:
    """Return how many samples' intervals hold the mean: of a rate, or, with `added` images at each end, of any mean."""
    hits, images, top = 0, counts[0].sum(), counts.shape[1] - 1
    for row in counts:
        there = np.flatnonzero(row)
        shares, weights = there / top, row[there]
        if added:
            above = mean_keeps(np.append(shares, 1.0), np.append(weights, added), mean, Z)
            below = mean_keeps(np.append(1 - shares, 1.0), np.append(weights, added), 1 - mean, Z)
        else:
            above = rate_keeps(shares, weights, images, mean, Z)
            below = rate_keeps(1 - shares, weights, images, 1 - mean, Z)
        hits += above and below
    return hits


def covered(low: Array, high: Array, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def one_rate(random: Generator, chances: Chances, mean: float, images: int, draws: int, samples: int) -> Found:
    right = random.binomial(draws, chances(random, (samples, images), mean))
    low, high = wilson_at_effective_size(right / draws)
    now = held(counted(right, draws), mean, 0.0) / samples
    if images < 100 or not 0.2 <= mean <= 0.8:
        return Found(covered(low, high, mean), now)
    some = [rate(row / draws) for row in right[:20]]
    widths = np.mean([found.high - found.low for found in some if found])
    return Found(covered(low, high, mean), now, float(widths / (high - low)[:20].mean()))


def one_difference(random: Generator, pair: Callable[..., tuple[Array, Array]], images: int, draws: int, samples: int) -> Found:
    """Return the coverage of a paired difference, before by the normal distribution; the bootstrap's is about the same."""
    a, b = (random.binomial(draws, chances) for chances in pair(random, (samples, images)))
    first, second = pair(random, (1, 2_000_000))
    truth = float((first - second).mean())
    differences = (a - b) / draws
    half = Z * differences.std(1, ddof=1) / math.sqrt(images)
    before = covered(differences.mean(1) - half, differences.mean(1) + half, truth)
    now = held(counted(a - b + draws, 2 * draws), (truth + 1) / 2, UNSEEN) / samples
    widths = [found.high - found.low for x, y in zip(a[:20], b[:20], strict=True) if (found := difference(x / draws, y / draws))]
    return Found(before, now, float(np.mean(widths) / (2 * half[:20].mean())) if half[:20].any() else math.nan)


def alike(total: float, mean: float, random: Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    chances = beta(total, random, shape, mean)
    return chances, chances


def apart(total: float, mean: float, random: Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    chances = beta(total, random, shape, mean)
    return chances, chances * random.random(shape)


def rarely(share: float, high: float, low: float, random: Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return two chances that differ for a share of the images only: `high` against `low`."""
    return np.where(random.random(shape) < share, high, low), np.full(shape, low)


def swapped(share: float, random: Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return chances of 0 or 1, of which a share differs, three in four in favour of the first."""
    same, which, side = random.random(shape) < 0.5, random.random(shape) < share, random.random(shape) < 0.75
    return np.where(which, side, same).astype(float), np.where(which, ~side, same).astype(float)


PAIRS: dict[str, list[Callable[..., tuple[Array, Array]]]] = {
    "the same chances": [partial(alike, total, mean) for total in (0.1, 2, 10) for mean in (0.02, 0.3, 0.5)],
    "one lower by half": [partial(apart, total, mean) for total in (0.1, 2, 10) for mean in (0.02, 0.3, 0.9)],
    "3 % differ, .8 and .02": [partial(rarely, 0.03, 0.8, 0.02), partial(rarely, 0.03, 0.2, 0.98)],
    "some differ, 0 and 1": [partial(swapped, share) for share in (0.03, 0.1, 0.5)],
}


def worst(random: Generator, attacks: int, alike: float, images: int, draws: int, samples: int) -> Found:
    """Return the coverage of the accuracy under the worst of attacks; `alike` in [0, 1]: how equal their chances are."""

    def chances(shape: tuple[int, int]) -> Array:
        of_image, of_attack = random.beta(0.5, 0.7, (*shape, 1)), random.beta(0.5, 0.7, (*shape, attacks))
        return alike * of_image + (1 - alike) * of_attack

    truth = float(chances((1, 500_000)).min(2).mean())
    shares = random.binomial(draws, chances((samples, images))) / draws
    before = covered(*wilson_at_effective_size(shares.min(2)), truth)
    hits, number = 0, np.full((images, attacks), draws)
    for row in shares:
        least, most = rate(row.min(1)), rate(judged_apart(row, number))
        assert least and most
        hits += least.low <= truth <= most.high
    return Found(before, hits / samples)


def persistent(random: Generator, chances: Chances, mean: float, images: int, m: int, samples: int, draws: int = 20) -> Found:
    """Return the coverage of the chance that m draws of an image are all right, from 20 draws of each."""
    right = random.binomial(draws, chances(random, (samples, images), mean))
    all_right = np.array([math.comb(c, m) / math.comb(draws, m) for c in range(draws + 1)])
    truth = float((chances(random, (1, 2_000_000), mean) ** m).mean())
    rates = [rate(row) for row in all_right[right]]
    now = np.mean([found.low <= truth <= found.high for found in rates if found])
    return Found(covered(*wilson_at_effective_size(all_right[right]), truth), float(now))


@njit(cache=True)
def stopped(right: Array, draws: int, checks: Array, narrow: float) -> tuple[float, float, int]:
    """Return both ends of the interval at the first check that is narrow enough, or at the last, and its number of images."""
    counts, seen = np.zeros(draws + 1), 0
    for check in checks:
        for count in right[seen:check]:
            counts[count] += 1
        seen = check
        there = np.flatnonzero(counts)
        high, low = rate_end(there / draws, counts[there], Z), 1 - rate_end(1 - there[::-1] / draws, counts[there][::-1], Z)
        if (high - low) / 2 <= narrow:
            break
    return low, high, seen


def stop(random: Generator, chances: Chances, mean: float, narrow: float, least: int, images: int, samples: int) -> Found:
    """Return the coverage at the stop, 5 draws an image, after up to 20 rounds; before: of release 0.1 at its own stop."""
    checks = np.array([images * (number + 1) // 20 for number in range(20)])
    checks = checks[checks >= least]
    now = before = 0
    for row in random.binomial(5, chances(random, (samples, images), mean)):
        low, high, _ = stopped(row, 5, checks, narrow)
        now += low <= mean <= high
        for check in checks:
            (lower,), (upper,) = wilson_at_effective_size(row[None, :check] / 5)
            if (upper - lower) / 2 <= narrow:
                break
        before += lower <= mean <= upper
    return Found(before / samples, now / samples)


def table(head: str, rows: Iterable[tuple[str, list[list[Found]]]], names: Iterable[str]) -> Iterator[str]:
    """Return a Markdown table of the lowest coverage of each cell, before -> now; then the ratio of widths, if any."""
    columns = [head, *names]
    yield "| " + " | ".join(columns) + " |"
    yield "| --- " * len(columns) + "|"
    everything: list[Found] = []
    for name, cells in rows:
        texts = [f"{100 * min(f.before for f in cell):.1f} -> {100 * min(f.now for f in cell):.1f}" for cell in cells]
        yield "| " + " | ".join([name, *texts]) + " |"
        everything += [found for cell in cells for found in cell]
    below = [sum(getattr(found, side) < 0.94 for found in everything) for side in ("before", "now")]
    yield f"\nBelow 94 %: {below[0]} of {len(everything)} scenarios before, {below[1]} now."


def widths(found: list[Found]) -> str:
    ratios = [one.ratio for one in found if not math.isnan(one.ratio)]
    return f"{min(ratios):.2f} to {max(ratios):.2f}, median {np.median(ratios):.2f}"


def rates(samples: int) -> Iterator[str]:
    found = {
        name: [
            [
                one_rate(np.random.default_rng([images, draws, int(1e4 * mean)]), chances, mean, images, draws, samples)
                for draws in DRAWS
                for mean in means
            ]
            for images in IMAGES
        ]
        for name, (chances, means) in SPREADS.items()
    }
    yield from table("rates, images:", found.items(), map(str, IMAGES))
    ratios = widths([one for cells in found.values() for cell in cells for one in cell])
    yield f"\nWidths now to before, means of 20 to 80 %, 150 and 1,000 images: {ratios}."


def differences(samples: int) -> Iterator[str]:
    found = {
        name: [
            [one_difference(np.random.default_rng([images, draws]), pair, images, draws, samples) for draws in DRAWS for pair in pairs]
            for images in IMAGES
        ]
        for name, pairs in PAIRS.items()
    }
    yield from table("differences, images:", found.items(), map(str, IMAGES))
    for place, images in enumerate(IMAGES):
        yield f"\nWidths now to before, {images:,} images: {widths([one for cells in found.values() for one in cells[place]])}."


def worst_cases(samples: int) -> Iterator[str]:
    rows = (
        (
            f"{attacks} attacks, {words}",
            [
                [worst(np.random.default_rng([images, draws]), attacks, alike, images, draws, samples) for draws in (5, 20)]
                for images in IMAGES
            ],
        )
        for attacks in (2, 6)
        for words, alike in (("equal on each image", 1.0), ("alike", 0.7), ("of any kind", 0.0))
    )
    return table("worst case, images:", rows, map(str, IMAGES))


def persistences(samples: int) -> Iterator[str]:
    rows = (
        (
            f"{m} of 20 draws right",
            [
                [
                    persistent(np.random.default_rng([images, m]), chances, mean, images, m, samples)
                    for chances in (point, partial(beta, 0.5), partial(beta, 2))
                    for mean in (0.02, 0.3, 0.7, 0.95)
                ]
                for images in IMAGES
            ],
        )
        for m in (2, 5, 20)
    )
    return table("persistence, images:", rows, map(str, IMAGES))


def stops(samples: int) -> Iterator[str]:
    ways = {
        "half-width 2 points, from 500 of 5,000": (0.02, 500, 5000),
        "half-width 4 points, from 100 of 1,000": (0.04, 100, 1000),
        "half-width 10 points, from 20 of 400": (0.1, 20, 400),
    }
    means = (0.01, 0.02, 0.05, 0.3, 0.5, 0.9)
    rows = (
        (
            name,
            [
                [
                    stop(np.random.default_rng([least, int(1e4 * mean)]), chances, mean, narrow, least, images, samples)
                    for chances in (point, partial(beta, 0.5), partial(beta, 2))
                ]
                for mean in means
            ],
        )
        for name, (narrow, least, images) in ways.items()
    )
    return table("stop rule, true accuracy in %:", rows, (f"{100 * mean:g}" for mean in means))


SECTIONS: dict[str, tuple[Callable[[int], Iterator[str]], int]] = {
    "rates": (rates, 4000),
    "differences": (differences, 2000),
    "worst case": (worst_cases, 1000),
    "persistence": (persistences, 1000),
    "stop rule": (stops, 1000),
}
"""{section: (its lines for a number of samples of each scenario, that number)}."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    quick = parser.parse_args().quick
    for name, (lines, samples) in SECTIONS.items():
        samples //= 10 if quick else 1
        error = 100 * math.sqrt(0.95 * 0.05 / samples)
        print(f"\n{name}: {samples:,} samples of each scenario, so 95 % is met with a standard error of {error:.2f}\n")
        for line in lines(samples):
            print(line, flush=True)


if __name__ == "__main__":
    main()
