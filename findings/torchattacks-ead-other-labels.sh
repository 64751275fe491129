#!/usr/bin/env bash
# torchattacks 3.5.1: what EADL1 finds for an image depends on the labels of the other images in its batch.
#
# Seen: with kappa = 0.5, EADL1 fools a model on 32 of 40 images in one batch and on none of the same images one by one.
# Expected: the same example either way. The documentation describes kappa as the confidence of one example: the true class must lose by
# kappa. Kappa is added to the columns of all labels of the batch, for each image; in a batch of ten classes every column gets it, so it
# says nothing, and alone the found examples lie too near the boundary to count.
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

torch.manual_seed(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
images = torch.rand(40, 3, 8, 8)
labels = model(images).argmax(1)
attack = torchattacks.EADL1(model, kappa=0.5, max_iterations=20, binary_search_steps=3, initial_const=0.1)


def fooled(found: torch.Tensor) -> int:
    return int((model(found).argmax(1) != labels).sum())


together = fooled(attack(images, labels))
alone = fooled(torch.cat([attack(images[i : i + 1], labels[i : i + 1]) for i in range(len(images))]))
print(f"fooled of 40: in one batch {together}, one by one {alone}")
assert together > alone + 10
PYTHON
