#!/usr/bin/env bash
# PyWavelets 1.9.0: soft thresholding by 0 makes NaN of every coefficient that is 0.
#
# Seen: `pywt.threshold([0, 1, -2], 0, "soft")` is [nan, 1, -2]; `"hard"` gives [0, 1, -2], and a threshold of 1e-12 gives 0 for the
# first.
# Expected: the data. The documented formula is data/|data| * max(0, |data| - value), and the text around it says that smaller values
# become 0. A threshold of 0 follows by itself where noise is estimated: of a flat image the estimate is 0.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check PyWavelets==1.9.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import warnings

import numpy as np
import pywt

warnings.simplefilter("ignore")
data = np.array([0.0, 1.0, -2.0])
soft, hard, tiny = pywt.threshold(data, 0, "soft"), pywt.threshold(data, 0, "hard"), pywt.threshold(data, 1e-12, "soft")
print("soft", soft, "hard", hard, "soft by 1e-12", tiny)
assert np.isnan(soft[0]) and (soft[1:] == data[1:]).all()
assert hard[0] == 0 and tiny[0] == 0
PYTHON
