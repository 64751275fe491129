"""Compare every transform with its oracle, on photographs of several sizes: python -m benchmarks.fidelity [--markdown]

Errors in units of 1/255: the mean, the 99.9th percentile and the largest. The tests hold each to its limits.
"""

import argparse

import numpy as np
import torch

from bart import TRANSFORMS, Gradient
from tests.oracles import ORACLES
from tests.support.contracts.transforms import errors
from tests.support.images import photographs

SIZES = ((224, 224), (256, 256), (97, 131), (64, 64), (32, 32))
LIBRARY = {
    "color_precision": "NumPy", "jpeg": "Pillow", "fft": "NumPy", "seam_carving": "NumPy dynamic programme",
    "grey_mix": "NumPy", "grey_partial_mix": "NumPy", "grey_two_thirds": "NumPy", "grey_one_channel": "NumPy",
}  # fmt: skip
GRADIENTS = {Gradient.EXACT: "exact", Gradient.SURROGATE: "surrogate", Gradient.NONE: "none (BPDA)"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="as the table of docs/transforms.md")
    parser.add_argument("--seeds", type=int, default=3, help="parameter draws an image")
    args = parser.parse_args()
    torch.set_num_threads(2)
    head = ("group", "transform", "gradient", "oracle", "mean", "99.9th percentile", "largest")
    rows = []
    for name, transform in TRANSFORMS.items():
        first = [transform.group, name, GRADIENTS[transform.gradient]]
        if name in ORACLES:
            found = [errors(transform, ORACLES[name], photographs(*size), seed) for size in SIZES for seed in range(args.seeds)]
            e = np.concatenate(found)
            numbers = (e.mean(), np.quantile(e, 0.999), e.max())
            rows.append([*first, LIBRARY.get(name, "scikit-image"), *(f"{n:.4f}" for n in numbers)])
        else:
            rows.append([*first, "scikit-image", "by distribution", "", ""])
        if not args.markdown:
            print("  ".join(f"{cell:<18}" for cell in rows[-1]), flush=True)
    if args.markdown:
        print("\n".join("| " + " | ".join(row) + " |" for row in [list(head), ["---"] * len(head), *rows]))


if __name__ == "__main__":
    main()
