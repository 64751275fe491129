#!/usr/bin/env bash
# torchattacks 3.5.1: AutoAttack's standard version gives its APGD and FAB 10 steps, not 100.
#
# Seen: `AutoAttack(model)` builds APGD, APGDT and FAB with steps = 10. On a model that is never fooled, APGD sends each image 12 times.
# Expected: 100. The documentation of the class names the article (Croce and Hein 2020) and "standard" as its version; the article fixes
# 100 iterations for each of the three, so that results can be compared, and the authors' own package runs 100. Robust accuracy by this
# class is not AutoAttack's.
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


class Sure(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 10)
        nn.init.normal_(self.linear.weight, std=1e-4)
        self.linear.bias.data = torch.arange(10.0)
        self.images = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.images += len(x)
        return self.linear(x.flatten(1))


torch.manual_seed(0)
model, images = Sure(), torch.rand(8, 3, 8, 8)
labels = torch.full((8,), 9)
parts = torchattacks.AutoAttack(model, eps=1 / 255, seed=0)._autoattack.attacks
steps = {type(part).__name__: part.steps for part in parts if hasattr(part, "steps")}
model.images = 0
parts[0](images, labels)
print("steps", steps, "passes of APGD:", model.images / len(images))
assert steps == {"APGD": 10, "APGDT": 10, "FAB": 10} and model.images / len(images) < 15
PYTHON
