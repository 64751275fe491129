"""Measure whether the interval over images covers the luck of the attack: python -m benchmarks.deep.attack_seeds

The default attack runs from several seeds on the same CIFAR-10 images behind 5 transforms, each judged by draws of its own, as
campaigns of those seeds would. A table shows one seed and its 95 % interval. Printed are

    spread    the standard deviation of the attacked accuracy over seeds, on the same images, in points; what of it the draws
              that judge explain alone, p (1 - p) / draws of each image; and the deviation over other images, by one seed
    hold      how many of the intervals hold the mean over all seeds, on the same images
    coverage  how often the interval holds the accuracy of all images over all seeds: samples with replacement of `--sample`
              images, with one seed for all images of a sample, and with a seed of its own for each image
    apart     mean correlation of two images over seeds: 0 if what the attack draws for one image says nothing of another's
"""

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.random import default_rng

from benchmarks.deep.setting import BALL, Array, Bench, iterates, pgd
from pipeline.scoring.intervals import rate

JUDGES = 10


def shares(bench: Bench, seeds: int, steps: int, draws: int) -> Array:
    """Return the share of right draws of each image under the attack from each seed, (images, seeds)."""
    attack, found = pgd(steps, draws), []
    for seed in range(seeds):
        stored = BALL.store(attack.result(iterates(bench, attack, "seeds", seed)[-1]), bench.x)
        found.append(bench.right(stored, JUDGES, "seeds", seed).mean(1))
    return np.stack(found, 1)


def spreads(found: Array) -> tuple[float, float, float]:
    """Return the variances of the accuracy: over seeds, of that by the judging draws, and over images, of `found`."""
    images = len(found)
    judging = (found * (1 - found)).mean(1).sum() / (JUDGES - 1) / images**2
    return float(found.mean(0).var(ddof=1)), float(judging), float(found.var(0, ddof=1).mean() / images)


def coverage(found: Array, sample: int, samples: int, apart: bool) -> float:
    """Return how often the interval of a sample of images holds the mean of `found` (images, seeds).

    `apart`: each image has a seed of its own; else all images of a sample have one.
    """
    random, truth, hits = default_rng(0), found.mean(), 0
    for _ in range(samples):
        images = random.integers(len(found), size=sample)
        seeds = random.integers(found.shape[1], size=sample if apart else 1)
        one = rate(found[images, seeds])
        assert one
        hits += one.low <= truth <= one.high
    return hits / samples


def correlation(found: Array) -> tuple[float, float]:
    """Return the mean correlation of two images over seeds and its standard error; of images that differ between seeds."""
    moving = found[found.std(1) > 0]
    pairs = np.corrcoef(moving)[np.triu_indices(len(moving), 1)]
    return float(pairs.mean()), float((1 / (found.shape[1] - 1) / len(pairs)) ** 0.5)


def table(found: Array, sample: int, samples: int) -> Iterator[str]:
    """Yield what the module's docstring names."""
    seeds, judging, images = (100 * value**0.5 for value in spreads(found))
    mean, every = found.mean(), [one for side in found.T if (one := rate(side))]
    hold, half = sum(one.low <= mean <= one.high for one in every), 50 * np.mean([one.high - one.low for one in every])
    least, most = 100 * found.mean(0).min(), 100 * found.mean(0).max()
    yield f"accuracy {100 * mean:.1f} %, by seed {least:.1f} to {most:.1f}; half an interval {half:.1f}"
    yield f"spread over seeds {seeds:.2f}, of which judging draws {judging:.2f}; over images {images:.2f}"
    yield f"hold {hold} of {len(every)}"
    for words, apart in (("one seed for all images", False), ("a seed for each image", True)):
        held = 100 * coverage(found, sample, samples, apart)
        yield f"coverage, {words}: {held:.1f} % of {samples} samples of {sample} images"
    yield "apart: correlation of two images over seeds {:+.4f}, standard error {:.4f}".format(*correlation(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sample", type=int, default=50)
    args = parser.parse_args()
    print(f"{args.images} images, {args.seeds} seeds, k = 5, 10 steps of 3 draws, judged by {JUDGES}", flush=True)
    for line in table(shares(Bench.of(args.images, 5), args.seeds, 10, 3), args.sample, 4000):
        print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
