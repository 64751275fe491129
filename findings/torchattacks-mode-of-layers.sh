#!/usr/bin/env bash
# torchattacks 3.5.1 and the Adversarial Robustness Toolbox 1.20.1: an attack switches off the dropout that a defense lives by, and leaves
# it off.
#
# Seen: a model in eval mode whose dropout layer alone is in training mode (Monte-Carlo dropout) is deterministic after one FGSM of either
# library; after Foolbox's it is not. And a model in training mode whose batch normalisation is frozen in eval mode comes back with the
# normalisation in training mode, so the next batches change its statistics.
# Expected: the modes of all layers as they were. torchattacks documents that it changes the mode during the attack; the layers that were
# set by hand are not put back, since only the mode of the outermost module is remembered.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    torch==2.14.1 torchattacks==3.5.1 adversarial-robustness-toolbox==1.20.1 packaging==26.4 foolbox==3.3.4 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import foolbox
import numpy as np
import torch
import torchattacks
from art.attacks.evasion import FastGradientMethod
from art.estimators.classification import PyTorchClassifier
from torch import nn

images = torch.rand(2, 3, 8, 8)
labels = torch.tensor([0, 1])


def model() -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 10)).eval()


def by_torchattacks(net: nn.Module) -> None:
    torchattacks.FGSM(net)(images, labels)


def by_art(net: nn.Module) -> None:
    classifier = PyTorchClassifier(net, nn.CrossEntropyLoss(), (3, 8, 8), 10, clip_values=(0.0, 1.0), device_type="cpu")
    FastGradientMethod(classifier, eps=0.03).generate(images.numpy(), np.eye(10, dtype=np.float32)[labels.numpy()])


def by_foolbox(net: nn.Module) -> None:
    foolbox.attacks.LinfFastGradientAttack()(foolbox.PyTorchModel(net, bounds=(0, 1)), images, labels, epsilons=0.03)


random = {}
for attack in (by_torchattacks, by_art, by_foolbox):
    net = model()
    net[2].train()
    attack(net)
    random[attack.__name__] = net[2].training
print("dropout still on:", random)
net = model().train()
net[0].eval()
by_torchattacks(net)
print("frozen normalisation is in training mode:", net[0].training)
assert random == {"by_torchattacks": False, "by_art": False, "by_foolbox": True}
assert net[0].training
PYTHON
