#!/usr/bin/env bash
# adv-lib 0.2.8: apgd with best_loss=True takes 100 steps, however many are asked for.
#
# Seen: `apgd(..., n_iter=5)` sends each image 6 times through a model that is never fooled, `n_iter=5, best_loss=True` 101 times.
# Expected: 5 steps in both. The documentation of n_iter says "number of steps", and of best_loss that the search goes on inside the
# budget after an image is fooled. With best_loss the number is not passed on. Comparisons by budget, and counts of passes, are off by 20.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 adv-lib==0.2.8
venv/bin/python - <<'PYTHON'
import torch
from adv_lib.attacks import apgd
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


def passes(**options) -> float:
    torch.manual_seed(0)
    model, images = Sure(), torch.rand(4, 3, 8, 8)
    apgd(model, images, torch.full((4,), 9), eps=1 / 255, norm=float("inf"), n_iter=5, **options)
    return model.images / len(images)


plain, best = passes(), passes(best_loss=True)
print(f"passes for n_iter=5: {plain}; with best_loss: {best}")
assert plain < 10 and best > 100
PYTHON
