"""Measure what keyed randomness costs beside the draw-gradient, for every kind of defense: python -m benchmarks.keyed

A step is forward and backward, from images of 32 px through a defense and a ResNet20. It is taken in turns as barrage takes it,
all random numbers from keys, and without: code of others and layers draw by torch's own generator there, and preprocessors get
draws that are at hand. Prints the ratio of processor times. At most 1.05 is wanted at 32 images; where random operations of
others are answered, at most 1.10.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bart import Classifier, Defended, Mirror, defenses
from bart.defenses.module import ByKeys
from pipeline.models import architectures

SIZE = (32, 32)
Logits = Callable[[Tensor], Tensor]


class Noisy(nn.Module):
    """Put noise and dropout before what follows."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x + 0.1 * torch.randn_like(x), 0.1, True)


class Denoiser(nn.Module):
    """Imitate a network that sees the noise in an image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.SiLU(), nn.Conv2d(64, 3, 3, padding=1))

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        return self.layers(x)


KINDS: dict[str, Callable[[], defenses.Defense]] = {
    "barrage, k 5": lambda: defenses.Barrage(5),
    "gaussian": lambda: defenses.Gaussian(0.1),
    "resize_pad": lambda: defenses.ResizePad(),
    "crop_ensemble": lambda: defenses.CropEnsemble(5, 0.8),
    "bit_depth": lambda: defenses.BitDepth(2, 5),
    "jpeg": lambda: defenses.Jpeg(60, 90),
    "compose": lambda: defenses.Compose((defenses.Gaussian(0.1), defenses.ResizePad())),
    "feature_noise": lambda: defenses.FeatureNoise(("*conv1",)),
    "dropout": lambda: defenses.Dropout(("*conv1",)),
    "module": lambda: defenses.RandomModule(Noisy),
    "purifier": lambda: defenses.RandomModule(lambda: defenses.Purifier(Denoiser(), 100, 5)),
}


def sides(defense: defenses.Defense, classifier: Classifier, images: int) -> tuple[Logits, Logits]:
    """Return the logits of images (n, 3, 32, 32) without keys, and those with keys."""
    keys = Mirror.of(torch.arange(images), "cpu")
    keyed = Defended(classifier, defense)
    if isinstance(defense, ByKeys):
        code = defense.code(classifier)

        def bare(x: Tensor) -> Tensor:
            with code.around():
                return code.function(x)

        return bare, lambda x: keyed.logits(x, keys)
    draws = defense.draw(keys, SIZE)
    return lambda x: defense.logits(classifier, x, draws), lambda x: keyed.logits(x, keys)


def seconds(logits: Logits, x: Tensor) -> float:
    """Return the processor time of one step of the images `x`."""
    began = time.thread_time()
    leaf = x.clone().requires_grad_()
    torch.autograd.grad(logits(leaf).logsumexp(1).sum(), leaf)
    return time.thread_time() - began


def measured(kinds: list[str], images: int, rounds: int) -> Iterator[str]:
    """Yield a line for each kind."""
    torch.manual_seed(0)
    classifier = Classifier(architectures.network("resnet20_cifar", 10), (0.5,) * 3, (0.25,) * 3, SIZE, folded=False)
    x = torch.rand(images, 3, *SIZE)
    for kind in kinds:
        both = sides(KINDS[kind](), classifier, images)
        for logits in both * 2:
            seconds(logits, x)
        times = [[seconds(logits, x) for logits in both] for _ in range(rounds)]
        ratios = sorted(after / before for before, after in times)
        without, own = (1000 * statistics.median(side) for side in zip(*times, strict=True))
        yield (
            f"{images} images, {kind}: {without:.1f} ms without keys, {own:.1f} ms with, ratio {statistics.median(ratios):.3f} "
            f"(half of the rounds {ratios[len(ratios) // 4]:.3f} to {ratios[3 * len(ratios) // 4]:.3f})"
        )


def main() -> None:
    """Print the ratios for each number of images."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, nargs="+", default=[4, 32])
    options.add_argument("--rounds", type=int, default=25)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    asked = options.parse_args()
    torch.set_num_threads(1)
    for images in asked.images:
        for line in measured(asked.kinds, images, asked.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
