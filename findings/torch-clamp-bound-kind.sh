#!/usr/bin/env bash
# torch 2.14.1: the gradient of clamp at its bounds depends on whether the bound is a number or a tensor.
#
# Seen: for pixels of exactly 0 and 1, `x.clamp(0, 1)` has the gradient 0, and `x.clamp(torch.tensor(0.), torch.tensor(1.))` has 0.5.
# Expected: one answer for one function. The notes on autograd give a rule for kinks, the subgradient of least norm, which is 0; a bound
# that is no variable and needs no gradient shares nothing. (Earlier releases gave 1 for a number.) In photographs black and white pixels
# are common, so a gradient-based attack moves them under one spelling of the same defense and never under the other.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1
venv/bin/python - <<'PYTHON'
import torch


def slopes(low: float | torch.Tensor, high: float | torch.Tensor) -> list[float]:
    x = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    return torch.autograd.grad(x.clamp(low, high).sum(), x)[0].tolist()


number, tensor = slopes(0.0, 1.0), slopes(torch.tensor(0.0), torch.tensor(1.0))
print("bounds as numbers", number, "as tensors", tensor)
assert number == [0.0, 1.0, 0.0] and tensor == [0.5, 1.0, 0.5]
PYTHON
