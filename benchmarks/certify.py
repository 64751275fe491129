"""Measure what counting votes for a certificate costs beside the bare model: python -m benchmarks.certify

Both run in turn in one process, on the same images with Gaussian noise; the figure is the ratio of their draws a second.
"""

import statistics
import time

import torch

import bart
from bart.certificate.votes import PER_STEP
from pipeline.models import architectures

ROUNDS, IMAGES, SIDE = 15, 2, 32


def main() -> None:
    """Print draws a second of the bare model and of a certificate, and their ratio: the median over rounds."""
    torch.set_num_threads(1)
    network = architectures.network("resnet20_cifar", 10)
    classifier = bart.Classifier(network, (0.5,) * 3, (0.25,) * 3, (SIDE, SIDE))
    x = torch.rand(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    defended = bart.Defended(classifier, bart.defenses.Gaussian(0.25))
    keys = bart.Mirror.of(torch.arange(IMAGES), "cpu")
    attack = bart.Certify(bart.Ball("l2", 0.5))
    label = torch.zeros(IMAGES, dtype=torch.int64)
    state, rows = attack.start(x, bart.Goal(label, label - 1), keys), IMAGES * PER_STEP
    stacked, bare, certified = x.repeat(PER_STEP, 1, 1, 1), list[float](), list[float]()
    for _ in range(ROUNDS):
        began = time.process_time()
        with torch.no_grad():
            classifier(stacked)
        bare.append(time.process_time() - began)
        began = time.process_time()
        state = attack.step(state, defended, rows)
        certified.append(time.process_time() - began)
    rate, own = (rows / statistics.median(seconds) for seconds in (bare, certified))
    ratio = statistics.median(a / b for a, b in zip(bare, certified, strict=True))
    print(f"bare model {rate:.0f} draws/s, certificate {own:.0f} draws/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
