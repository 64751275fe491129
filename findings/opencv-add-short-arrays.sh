#!/usr/bin/env bash
# OpenCV 5.0.0: adding two arrays of up to four 8-bit numbers gives four double numbers that do not saturate.
#
# Seen: `cv2.add(np.uint8([250]), np.uint8([10]))` is [[260], [0], [0], [0]] in float64, and two elements each give [[260], [260], [0],
# [0]]; five elements each give 255 five times, in uint8.
# Expected: [[255]]. OpenCV's tutorial on image arithmetic shows this very call, with 255 as its result, to explain that its additions
# saturate. Short arrays are taken for one scalar of four channels, so code that adds a few pixels gets another type and other numbers
# than an image.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np

one = cv2.add(np.uint8([250]), np.uint8([10]))
five = cv2.add(np.uint8([250] * 5), np.uint8([10] * 5))
print("one:", one.ravel().tolist(), one.dtype, "five:", five.ravel().tolist(), five.dtype)
assert one.ravel().tolist() == [260.0, 0.0, 0.0, 0.0] and one.dtype == np.float64
assert five.ravel().tolist() == [255] * 5 and five.dtype == np.uint8
PYTHON
