#!/usr/bin/env bash
# torchattacks 3.5.1: CW can't change a pixel that is 0 or 1.
#
# Seen: on images of 0 and 1 only, `CW(c=10, steps=100, lr=0.1)` returns the images unchanged and fools the model on none; on grey images
# of the same model it changes pixels by 0.07 and more and fools it on every one.
# Expected: that any pixel may move inside [0, 1]. The article that its documentation cites (Carlini and Wagner 2017) maps pixels by tanh
# so that they stay inside. The inverse of tanh is infinite at 0 and 1, where its derivative is 0; Foolbox shrinks the images a little for
# that reason. Digits, line drawings and clipped skies keep such pixels for ever.
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
model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)).eval()
attack = torchattacks.CW(model, c=10, steps=100, lr=0.1)
grey = torch.rand(8, 3, 8, 8)


def tried(images: torch.Tensor) -> tuple[float, int]:
    labels = model(images).argmax(1)
    found = attack(images, labels)
    return (found - images).abs().max().item(), int((model(found).argmax(1) != labels).sum())


result = {"grey": tried(grey), "black and white": tried((grey > 0.5).float())}
print("(largest change, fooled of 8):", result)
assert result["grey"][0] > 0.03 and result["grey"][1] >= 6
assert result["black and white"] == (0.0, 0)
PYTHON
