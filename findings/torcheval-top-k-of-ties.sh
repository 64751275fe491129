#!/usr/bin/env bash
# torcheval 0.0.7: a model that gives all classes the same logit has a top-2 accuracy of 100 %.
#
# Seen: `multiclass_accuracy` of 100 rows of five equal logits is 0.2 for k=1, and 1.0 for k=2 and k=3. scikit-learn's
# `top_k_accuracy_score` gives 0.4 and 0.6.
# Expected: at most k / 5. Top-k takes k classes, and the documentation calls k the "number of top probabilities to be considered"; here a
# row is right if fewer than k logits exceed that of the label, so any number of tied classes is among the first two. Logits that saturate,
# in half precision or under an attack, tie.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torcheval==0.0.7 torch==2.14.1 numpy==2.4.6 scikit-learn==1.9.1
venv/bin/python - <<'PYTHON'
import torch
from sklearn.metrics import top_k_accuracy_score
from torcheval.metrics.functional import multiclass_accuracy

logits, labels = torch.zeros(100, 5), torch.arange(100) % 5
torcheval = [multiclass_accuracy(logits, labels, k=k, num_classes=5).item() for k in (1, 2, 3)]
sklearn = [float(top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k)) for k in (1, 2, 3)]
print("top 1, 2, 3: torcheval", torcheval, "scikit-learn", sklearn)
assert torcheval[1:] == [1.0, 1.0] and [round(share, 6) for share in sklearn] == [0.2, 0.4, 0.6]
PYTHON
