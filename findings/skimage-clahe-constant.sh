#!/usr/bin/env bash
# scikit-image 0.26.0: equalize_adapthist turns an image of one grey into white.
#
# Seen: images that are 0.2, 0.5 or 0.8 everywhere all become 1.0 everywhere.
# Expected: little or no change. The documentation calls it an enhancement of local contrast, and a flat image has none to enhance;
# equalize_hist of the same library keeps 0.5, and OpenCV 5.0's CLAHE makes 64 of 50 (of 255). So a flat image, a blank frame in a set of
# photographs, becomes the brightest of all.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check scikit-image==0.26.0
venv/bin/python - <<'PYTHON'
import numpy as np
from skimage.exposure import equalize_adapthist, equalize_hist

for grey in (0.2, 0.5, 0.8):
    flat = np.full((16, 16), grey)
    adapted = np.unique(equalize_adapthist(flat)).tolist()
    print(f"{grey} -> {adapted}")
    assert adapted == [1.0]
assert np.unique(equalize_hist(np.full((16, 16), 0.5))).tolist() == [0.5]
PYTHON
