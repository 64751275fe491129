#!/usr/bin/env bash
# torch 2.14.1: the exponential average of a bfloat16 network never moves.
#
# Seen: `AveragedModel` with `get_ema_multi_avg_fn(0.999)` over weights that stay at 1.5 goes from 1 to 1.497 in 5,000 steps in float32; in
# bfloat16 it is 1.0 for ever, in half 1.01.
# Expected: near 1.5, an average kept in float32, or a word about it. The page names the function for averages of a training and says
# nothing of types; 0.999 is its default. The average is what is evaluated and published: here it is the untrained network.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

ends = {}
for kind in (torch.float32, torch.bfloat16, torch.float16):
    network = nn.Linear(2, 2, bias=False).to(kind)
    nn.init.ones_(network.weight)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    average.update_parameters(network)
    nn.init.constant_(network.weight, 1.5)
    for _ in range(5000):
        average.update_parameters(network)
    ends[kind] = float(average.module.weight.detach()[0, 0])
    print(kind, ends[kind])
assert 1.49 < ends[torch.float32] < 1.5
assert ends[torch.bfloat16] == 1.0 and ends[torch.float16] < 1.05
PYTHON
