#!/usr/bin/env bash
# torchattacks 3.5.1: examples saved as integers lie outside the ball that they were found in.
#
# Seen: examples of PGD with eps = 8 / 255 on 8-bit images are at most 8 levels away; `attack.save(..., save_type="int")` stores some of
# them 9 levels away.
# Expected: at most 8. The documentation offers "int" as a type to save, and the threat model is 8 levels of 255, so rounding keeps every
# example inside. The method multiplies by 255 and cuts off: 8 / 255 below a level is computed as a little less than 8.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchattacks==3.5.1
venv/bin/python - <<'PYTHON'
import torch
import torchattacks
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)).eval()
levels = torch.randint(0, 256, (8, 3, 32, 32))
images = levels / 255
labels = model(images).argmax(1)
attack = torchattacks.PGD(model, eps=8 / 255, random_start=False)
found = attack(images, labels)
attack.save(DataLoader(TensorDataset(images, labels), batch_size=8), "saved.pt", verbose=False, save_type="int")
saved = torch.load("saved.pt")["adv_inputs"].long()
rounded = (found * 255).round().long()
far = {"rounded": int((rounded - levels).abs().max()), "saved": int((saved - levels).abs().max())}
print("levels away at most:", far, "- pixels too far:", int(((saved - levels).abs() > 8).sum()))
assert far == {"rounded": 8, "saved": 9}
PYTHON
