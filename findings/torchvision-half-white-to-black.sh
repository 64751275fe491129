#!/usr/bin/env bash
# torchvision 0.29.1: to_dtype turns white into black for images in half precision.
#
# Seen: `to_dtype(image, torch.uint8, scale=True)` makes 0 of 1.0 if the image is float16 or bfloat16; the levels below are right or off
# by one. In float32 and float64 white becomes 255.
# Expected: 255. The documentation says that `scale` maps the range of one type to that of the other, and [0, 1] is the range of every
# floating type. Multiplied by 255.999 in 16 bits, 1.0 becomes 256, which 8 bits hold as 0. An example that an attack under autocast
# leaves in half precision is stored with its brightest pixels black.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
venv/bin/python - <<'PYTHON'
import torch
from torchvision.transforms.v2.functional import to_dtype

levels = torch.arange(256)
image = (levels / 255).view(1, 1, 256)
white = {}
for kind in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
    stored = to_dtype(image.to(kind), torch.uint8, scale=True).flatten().long()
    white[str(kind)] = stored[255].item()
    print(kind, "white becomes", stored[255].item(), "- other levels are off by at most", (stored - levels)[:255].abs().max().item())
assert white == {"torch.float64": 255, "torch.float32": 255, "torch.bfloat16": 0, "torch.float16": 0}
PYTHON
