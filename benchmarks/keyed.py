"""Measure what randomness from keys costs beside the step of a small ResNet: python -m benchmarks.keyed

The same ResNet20 with dropout and noise in front takes a step, forward and backward to the image, once by itself with torch's
own generator, and once with its random operations answered from keys; the two in turns. Prints the ratio of their processor
times; at most 1.10 is wanted at 32 images.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bart import Classifier, Defended, Mirror
from bart.defenses import RandomModel
from pipeline.models import architectures


class Noisy(nn.Module):
    """Put noise and dropout before a network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = architectures.network("resnet20_cifar", 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(functional.dropout(x + 0.1 * torch.randn_like(x), 0.1, True))


def seconds(logits: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Return the processor time of one step of the images `x` (n, 3, 32, 32)."""
    began = time.thread_time()
    leaf = x.clone().requires_grad_()
    torch.autograd.grad(logits(leaf).logsumexp(1).sum(), leaf)
    return time.thread_time() - began


def main() -> None:
    """Print the ratio for each number of images."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, nargs="+", default=[4, 32])
    options.add_argument("--rounds", type=int, default=25)
    asked = options.parse_args()
    torch.set_num_threads(1)
    classifier = Classifier(Noisy(), (0.5,) * 3, (0.25,) * 3, (32, 32))
    defended = Defended(classifier, RandomModel())
    for images in asked.images:
        x, keys = torch.rand(images, 3, 32, 32), Mirror.of(torch.arange(images), "cpu")
        bare, keyed = (lambda y: classifier(y)), (lambda y, keys=keys: defended.logits(y, keys))
        for warm in (bare, keyed):
            seconds(warm, x)
        times = [(seconds(bare, x), seconds(keyed, x)) for _ in range(asked.rounds)]
        ratios = sorted(after / before for before, after in times)
        plain, own = (1000 * statistics.median(side) for side in zip(*times, strict=True))
        print(
            f"{images} images: {plain:.1f} ms bare, {own:.1f} ms keyed, ratio {statistics.median(ratios):.3f} "
            f"(half of the rounds {ratios[len(ratios) // 4]:.3f} to {ratios[3 * len(ratios) // 4]:.3f})"
        )


if __name__ == "__main__":
    main()
