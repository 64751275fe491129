#!/usr/bin/env bash
# scikit-image 0.26.0: denoise_wavelet returns only NaN for a constant channel.
#
# Seen: an image of one grey value, and the constant channel of a colour image, come back as NaN in every pixel, with both rules for
# thresholds; the other channels are right. Only NumPy's "mean of empty slice" warns.
# Expected: the image itself. Its documentation asks for an image of any kind of numbers and speaks of the noise that is estimated when
# `sigma` is not given: here the estimate is 0, and nothing is to be removed. Scans, masks and drawings have constant channels.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check scikit-image==0.26.0 PyWavelets==1.9.0
venv/bin/python - <<'PYTHON'
import warnings

import numpy as np
from skimage.restoration import denoise_wavelet

warnings.simplefilter("ignore")
grey = np.full((16, 16), 0.5)
colour = np.random.default_rng(0).random((16, 16, 3))
colour[..., 1] = 0.3
for rule in ("BayesShrink", "VisuShrink"):
    alone = np.isnan(denoise_wavelet(grey, method=rule)).sum()
    channels = np.isnan(denoise_wavelet(colour, method=rule, channel_axis=-1)).sum((0, 1)).tolist()
    print(f"{rule}: NaN in {alone} of 256 pixels; by channel {channels}")
    assert alone == 256 and channels == [0, 256, 0]
PYTHON
