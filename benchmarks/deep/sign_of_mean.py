"""Measure what the sign of a mean of few draws has to do with that of the expectation: python -m benchmarks.deep.sign_of_mean

An L-inf step follows the sign of the mean gradient of n draws. 10,000 draws of each image, behind 5 transforms, stand for the
expectation; each group of n draws is held against the draws that are not in it. For each n:

    agree   values whose sign is that of the other draws' mean, in %
    normal  the same, if draws were normal: the mean over values of Phi(|mean| sqrt(n) / deviation)
    gain    how much a step along the sign raises the linearised loss, in % of what the sign of 5,000 other draws gains
    turned  values on which most signs of n draws are opposite to the sign of the mean, both beyond three standard errors, in %
            of the values on which both are beyond: a bias, which no number of steps averages away
    limit   the gain of infinitely many steps of n draws each, if their signs are summed and the sign of the sum is taken

Both at the image and where the default attack is after half of its steps. `unit` divides the gradient of each draw by its norm
first, as the standard attack does; the expectation is then that of unit gradients.
"""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bart import Eot, Goal, key
from bart.gradient import gradient
from benchmarks.deep.setting import STACK, Bench, iterates, mirror, pgd

COUNTS = (1, 5, 10, 20, 40, 100, 1000)
SURE = 3.0
"""Standard errors beyond which a sign is taken for sure."""


class Signs(NamedTuple):
    """Hold what the module's docstring names, each in [0, 1] but `turned`, which is NaN where no value is sure."""

    agree: float
    normal: float
    gain: float
    turned: float
    limit: float


def gradients(bench: Bench, x: Tensor, image: int, draws: int, eot: Eot) -> Tensor:
    """Return the gradients of single draws of one image of `x` (n, 3, h, w), (draws, values)."""
    found = []
    for first in range(0, draws, STACK):
        count = min(STACK, draws - first)
        keys = mirror([key("sign of mean", bench.names[image], first + i) for i in range(count)])
        goal = Goal(*(side[image].repeat(count) for side in bench.goal))
        found.append(gradient(bench.defended, x[image].repeat(count, 1, 1, 1), goal, keys, eot, STACK)[0].flatten(1))
    return torch.cat(found)


def signs(draws: Tensor, n: int) -> Signs:
    """Return what the signs of means of `n` draws have to do with the mean of all; draws (N, values), n at most N / 2."""
    groups = draws[: len(draws) // n * n].view(-1, n, draws.shape[1]).mean(1)
    total, step = draws.sum(0), groups.sign()
    others = (total - n * groups) / (len(draws) - n)
    z = total / len(draws) ** 0.5 / draws.std(0).clamp_min(1e-30)
    lean = step.mean(0) * len(step) ** 0.5
    sure = (z.abs() > SURE) & (lean.abs() > SURE)
    half = draws[: len(draws) // 2].mean(0), draws[len(draws) // 2 :].mean(0)
    best = sum((a * b.sign()).sum() for a, b in (half, half[::-1])) / 2
    limit = sum((a * _most(draws[part], n)).sum() for a, part in zip(half, _halves(len(draws))[::-1], strict=True)) / 2
    normal = torch.special.ndtr(z.abs() * (n / len(draws)) ** 0.5)
    turned = ((z * lean < 0) & sure).sum() / sure.sum()
    return Signs(
        *(
            float(v)
            for v in (
                (step == others.sign()).double().mean(),
                normal.mean(),
                (others * step).sum(1).mean() / best,
                turned,
                limit / best,
            )
        )
    )


def _halves(count: int) -> tuple[slice, slice]:
    return slice(0, count // 2), slice(count // 2, count)


def _most(draws: Tensor, n: int) -> Tensor:
    """Return the sign that most means of `n` draws have, of each value."""
    return draws[: len(draws) // n * n].view(-1, n, draws.shape[1]).mean(1).sign().sum(0).sign()


def table(bench: Bench, x: Tensor, draws: int, eot: Eot) -> Iterator[str]:
    """Yield a line for each number of draws, of the mean over images."""
    found: dict[int, list[Signs]] = {n: [] for n in COUNTS}
    for image in range(len(x)):
        every = gradients(bench, x, image, draws, eot)
        for n, some in found.items():
            some.append(signs(every, n))
    for n, some in found.items():
        means = (100 * float(torch.tensor(side).nanmean()) for side in zip(*some, strict=True))
        yield f"  {n:5} draws   " + "   ".join(f"{name} {mean:5.1f}" for name, mean in zip(Signs._fields, means, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--draws", type=int, default=10_000)
    args = parser.parse_args()
    bench = Bench.of(args.images, 5)
    middle = iterates(bench, pgd(10, 10), "sign of mean")[5].x
    print(f"{args.images} CIFAR-10 images, ResNet20 trained for BaRT, k = 5, {args.draws} draws of each")
    for where, x in (("at the image", bench.x), ("after 5 of 10 steps", middle)):
        for kind, eot in (("plain", Eot(1)), ("unit", Eot(1, unit=True))):
            print(f"{where}, cross-entropy, {kind}", flush=True)
            for line in table(bench, x, args.draws, eot):
                print(line, flush=True)


if __name__ == "__main__":
    main()
