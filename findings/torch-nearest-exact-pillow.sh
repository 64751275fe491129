#!/usr/bin/env bash
# torch 2.14.1 and Pillow 13.0.0: "nearest-exact" does not choose the pixels that Pillow chooses.
#
# Seen: from 224 pixels to each size from 2 to 299, two thirds of the sizes differ in at least one pixel; to 5 pixels, one of five is
# another.
# Expected: none. The page of torch.nn.functional.interpolate says that mode nearest-exact matches the nearest-neighbour algorithms of
# scikit-image and Pillow, and repairs what mode nearest does differently. Where the middle of a new pixel falls on the border of two old
# ones, one takes the left, the other the right.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

row = np.arange(224, dtype=np.int32)[None]


def shares(size: int) -> float:
    pillow = np.asarray(Image.fromarray(row).resize((size, 1), Image.Resampling.NEAREST))[0]
    ours = F.interpolate(torch.tensor(row, dtype=torch.float32)[None], size, mode="nearest-exact")[0, 0].numpy()
    return float((pillow != ours).mean())


differ = {size: share for size in range(2, 300) if (share := shares(size))}
print(f"{len(differ)} of 298 sizes differ; to 5 pixels: {differ.get(5, 0):.0%}, to 160: {differ.get(160, 0):.1%}")
assert len(differ) > 100
PYTHON
