#!/usr/bin/env bash
# Foolbox 3.3.4: every gradient-based attack adds to the gradients of the model's weights.
#
# Seen: weights that hold a gradient of 7 hold another after LinfPGD, L2DeepFoolAttack and L2CarliniWagnerAttack. Weights without one have
# one afterwards, as large as the weights in memory.
# Expected: that an attack, which changes images, leaves the weights alone. torch accumulates into `grad` by design and says so in the
# page of backward; so an adversarial training that zeroes gradients, attacks and then calls backward steps by the sum of the attack's
# gradients and its own. adv-lib and torchattacks' PGD ask for the image's gradient only.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 foolbox==3.3.4
venv/bin/python - <<'PYTHON'
import foolbox
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).eval()
images = torch.rand(4, 3, 8, 8)
labels = model(images).argmax(1)
weight = model[1].weight
attacks = {
    "LinfPGD": (foolbox.attacks.LinfPGD(), 0.03),
    "L2DeepFool": (foolbox.attacks.L2DeepFoolAttack(), None),
    "L2CarliniWagner": (foolbox.attacks.L2CarliniWagnerAttack(steps=10, binary_search_steps=1), None),
}
changed = {}
for name, (attack, size) in attacks.items():
    weight.grad = torch.full_like(weight, 7.0)
    attack(foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=size)
    changed[name] = (weight.grad - 7).abs().max().item()
print("change of the weights' gradient:", changed)
assert all(change > 1e-6 for change in changed.values())
PYTHON
