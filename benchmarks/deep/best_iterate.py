"""Measure what it costs to choose an iterate by its noisy loss: python -m benchmarks.deep.best_iterate

An attack sees the loss of each iterate on a few draws. The iterate with the highest loss is, in part, the one with the luckiest
draws. Each attack runs once on CIFAR-10 images behind 5 transforms; then every iterate meets two sets of fresh draws: one may
choose, the other judges. A line gives the accuracy that an iterate leaves, in %, and how much more that is than what the last
one leaves, with the paired 95 % interval over images:

    last       the last iterate
    seen       the one whose loss was highest on the attack's own draws, as APGD takes it
    fresh      the one that was right least often on the fresh draws that may choose, the later one of two: a choice that costs
               more than the attack
    boast      of `seen`: its loss on the draws that chose it, minus its loss on fresh draws; and the same of the last
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bart import Apgd, Eot, Pgd
from bart.gradient import mean_loss
from benchmarks.deep.setting import BALL, STACK, Array, Bench, iterates, pgd
from pipeline.scoring.intervals import paired_difference

LOSS = "ce"


class Run:
    """Hold the iterates of one attack, (steps + 1, n, 3, h, w), and what was seen and measured of them, (steps + 1, n)."""

    def __init__(self, bench: Bench, attack: Apgd | Pgd, judges: int) -> None:
        states = iterates(bench, attack, "best iterate")
        self.x, self.images = torch.stack([state.x for state in states]), torch.arange(len(bench.x))
        self.seen, self.fresh = (
            torch.stack(
                [
                    mean_loss(bench.defended, s.x, bench.goal, keys, LOSS, draws, STACK)
                    for s, keys in zip(states, every, strict=True)
                ]
            )
            for every, draws in (
                ([bench.defended.keys(s.keys, "step", s.step) for s in states], attack.eot.draws),
                ([bench.keys("fresh loss")] * len(states), judges),
            )
        )
        right = np.stack([bench.right(BALL.store(x, bench.x), 2 * judges, "best iterate") for x in self.x])
        self.chooses, self.judged = (torch.from_numpy(half.mean(2)) for half in np.split(right, 2, axis=2))

    def left(self, chosen: Tensor) -> Array:
        """Return the share of right draws that a chosen iterate of each image leaves, (n,)."""
        return self.judged[chosen, self.images].numpy()

    def boast(self, chosen: Tensor) -> float:
        """Return by how much the loss of chosen iterates was higher on the attack's own draws than on fresh ones."""
        return float((self.seen - self.fresh)[chosen, self.images].mean())


def lines(run: Run) -> Iterator[str]:
    """Yield the lines of one attack; its last iterate is not seen by the attack."""
    last = torch.full_like(run.images, len(run.x) - 1)
    fresh = len(run.x) - 1 - run.chooses.flip(0).argmin(0)
    seen = run.seen[:-1].argmax(0)
    base = run.left(last)
    yield f"  last   {100 * base.mean():5.1f}"
    for name, chosen in (("seen", seen), ("fresh", fresh)):
        left = run.left(chosen)
        more, half = paired_difference(left, base)
        ends = f"[{100 * (more - half):+.1f}, {100 * (more + half):+.1f}]"
        yield f"  {name:<6} {100 * left.mean():5.1f}   {100 * more:+.1f} {ends}"
    yield f"  boast of seen {run.boast(seen):+.3f}, of last {run.boast(last):+.3f}"


def attacks(steps: int, draws: int) -> dict[str, Apgd | Pgd]:
    return {
        "PGD with momentum": pgd(steps, draws),
        "APGD": Apgd(BALL, steps, eot=Eot(draws, LOSS)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--judges", type=int, default=8)
    args = parser.parse_args()
    bench = Bench.of(args.images, 5)
    print(f"{args.images} images, k = 5, {args.steps} steps of {args.draws} draws; {args.judges} draws choose, as many judge")
    for name, attack in attacks(args.steps, args.draws).items():
        print(name, flush=True)
        for line in lines(Run(bench, attack, args.judges)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
