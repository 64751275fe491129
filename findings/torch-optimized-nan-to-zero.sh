#!/usr/bin/env bash
# torch 2.14.1: a network that is optimised for inference gives finite logits for an image that holds NaN.
#
# Seen: a convolution and a ReLU answer NaN for an image with one NaN pixel; after `torch.jit.optimize_for_inference` they answer plain
# numbers on a CPU. The same happens in `torch.compile` with torch._inductor.config.freezing: both fuse the two into one oneDNN kernel,
# whose ReLU makes 0 of NaN.
# Expected: NaN, as `relu` gives everywhere else, also in 16 bits and in the scripted and frozen network before the optimisation. The
# documentation promises faster passes, not other values. An image that an attack or a transform turned into NaN is then counted with a class.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore")
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
images = torch.rand(2, 3, 16, 16)
images[0, 1, 8, 8] = float("nan")
with torch.no_grad():
    frozen = torch.jit.freeze(torch.jit.script(network))
    seen = {"eager": network(images), "frozen": frozen(images)}
    seen["optimised"] = torch.jit.optimize_for_inference(torch.jit.script(network))(images)
finite = {name: logits.isfinite().all(1).tolist() for name, logits in seen.items()}
print("logits are finite, of the image with NaN and of another:", finite)
print("class of the image with NaN:", seen["optimised"][0].argmax().item())
assert finite == {"eager": [False, True], "frozen": [False, True], "optimised": [True, True]}
assert torch.allclose(seen["eager"][1], seen["optimised"][1], atol=1e-4)
PYTHON
