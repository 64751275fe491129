#!/usr/bin/env bash
# torchattacks 3.5.1: CW does nothing to a model that returns log-probabilities.
#
# Seen: with a log_softmax behind the same model, CW returns the clean images, and fools it on none; without it, on most. PGD and EADL1 of
# the same library fool both.
# Expected: the same. The margin between two classes is the same for logits and for log-probabilities, which differ by one number per
# image; the documentation asks for a model and images in [0, 1]. The "other" class is the largest of products with a 0 for the true
# class, and so is the true one: of negative outputs both are 0, and so is the gradient. Negative logits suffer the same.
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

torch.manual_seed(0)
logits = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)).eval()
models = {"logits": logits, "log-probabilities": nn.Sequential(logits, nn.LogSoftmax(1)).eval()}
images = torch.rand(8, 3, 8, 8)
labels = logits(images).argmax(1)


def fooled(attack) -> int:
    return int((attack.model(attack(images, labels)).argmax(1) != labels).sum())


result = {name: (fooled(torchattacks.CW(model, c=10)), fooled(torchattacks.PGD(model))) for name, model in models.items()}
print("fooled of 8 (CW, PGD):", result)
assert result["logits"][0] > 2 and result["log-probabilities"][0] == 0
assert min(result["logits"][1], result["log-probabilities"][1]) > 2
PYTHON
