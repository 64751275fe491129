#!/usr/bin/env bash
# torchattacks 3.5.1: APGD, Square and FAB set the seed of the whole program, at every call.
#
# Seen: after each of them, whatever seed the program had set before, `torch.rand(1)` is one and the same number; after PGD it is not.
# Expected: that random numbers of others go on. The documented `seed` is that of the attack's starting point, 0 by default. A random
# defense that draws from torch's generator gives the same draws after every batch, so "20 fresh draws" after each attack are the same 20,
# and an adversarial training sees one noise again and again.
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
model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).eval()
images = torch.rand(2, 3, 8, 8)
labels = model(images).argmax(1)
attacks = {
    "APGD": torchattacks.APGD(model),
    "Square": torchattacks.Square(model, n_queries=20),
    "FAB": torchattacks.FAB(model),
    "PGD": torchattacks.PGD(model),
}


def number_after(attack, seed: int) -> float:
    torch.manual_seed(seed)
    attack(images, labels)
    return torch.rand(1).item()


after = {name: len({number_after(attack, seed) for seed in (1, 2, 3)}) for name, attack in attacks.items()}
print("different numbers after three seeds:", after)
assert after == {"APGD": 1, "Square": 1, "FAB": 1, "PGD": 3}
PYTHON
