#!/usr/bin/env bash
# torch 2.14.1: a strict `load_state_dict` takes the integers of a quantised network for its weights.
#
# Seen: a state with the int8 codes of the weights loads into a float network as "All keys matched successfully"; its weights are numbers up
# to 127. Truth values load as well. With `assign=True` the same state is an error.
# Expected: an error. `strict` is the default, names and shapes must agree, and the sister call refuses it. Codes have the names and the
# shapes of what they stand for where their scale is kept elsewhere, and a classifier of codes still answers something.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from torch import nn

torch.manual_seed(0)
trained = nn.Linear(4, 3)
scale = trained.weight.abs().amax() / 127
codes = {"weight": (trained.weight / scale).round().to(torch.int8), "bias": trained.bias > 0}
fresh = nn.Linear(4, 3)
print(fresh.load_state_dict(codes), fresh.weight.dtype, float(fresh.weight.detach().abs().amax()))
assert fresh.weight.abs().amax() == 127 and fresh.weight.dtype == torch.float32
assert torch.allclose(fresh.weight * scale, trained.weight, atol=float(scale.detach())), "they are codes"
try:
    nn.Linear(4, 3).load_state_dict(codes, assign=True)
except RuntimeError as error:
    print("assign=True:", " ".join(str(error).split())[:140])
else:
    raise SystemExit("assign=True takes them as well")
PYTHON
