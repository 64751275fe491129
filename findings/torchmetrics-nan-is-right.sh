#!/usr/bin/env bash
# torchmetrics 1.9.0: logits that are NaN count as a right answer where the label is the first class with NaN.
#
# Seen: for NaN logits `multiclass_accuracy` is 1 where the label is 0, and 0 elsewhere; where only one class has NaN, it is 1 for the label
# of that class, whatever the other logits say. `validate_args=True`, the default, says nothing.
# Expected: an error, or never right. scikit-learn's `top_k_accuracy_score` refuses such scores, and torchmetrics' arguments are validated
# by default. A network that overflows in half precision, as under attack, keeps the accuracy of class 0.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchmetrics==1.9.0 scikit-learn==1.9.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import torch
from sklearn.metrics import top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy


def right(logits: torch.Tensor, label: int) -> float:
    return multiclass_accuracy(logits[None], torch.tensor([label]), num_classes=10, average="micro").item()


broken = torch.full((10,), float("nan"))
one = torch.arange(10.0)
one[3] = float("nan")
seen = {"all NaN": [right(broken, label) for label in range(10)], "class 3 NaN": [right(one, label) for label in range(10)]}
print(seen)
try:
    top_k_accuracy_score([0], np.full((1, 10), np.nan), k=1, labels=range(10))
    refused = False
except ValueError as error:
    refused = "NaN" in str(error)
print("scikit-learn refuses:", refused)
assert seen["all NaN"] == [1.0] + [0.0] * 9
assert seen["class 3 NaN"] == [0.0] * 3 + [1.0] + [0.0] * 6
assert refused
PYTHON
