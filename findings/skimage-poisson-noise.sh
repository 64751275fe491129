#!/usr/bin/env bash
# scikit-image 0.26.0: the strength of Poisson noise depends on how many different values an image has.
#
# Seen: noise of `random_noise(image, "poisson")` on a flat grey of 0.5 has a standard deviation of 0.49, nearly black and white; after
# adding random numbers below one millionth to the image it has 0.006. Two images that no eye tells apart get noise that differs 80-fold.
# Expected: noise that follows from the brightness. The documentation says that Poisson noise is made from the data; the variance of a
# Poisson variable is its mean, and both images have the mean 0.5.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check scikit-image==0.26.0
venv/bin/python - <<'PYTHON'
import numpy as np
from skimage.util import random_noise

flat = np.full((100, 100), 0.5)
nearly = flat + 1e-6 * np.random.default_rng(0).random(flat.shape)
strength = {name: random_noise(image, "poisson", rng=0).std() for name, image in (("flat", flat), ("nearly flat", nearly))}
print({name: round(float(value), 4) for name, value in strength.items()})
assert strength["flat"] > 50 * strength["nearly flat"]
PYTHON
