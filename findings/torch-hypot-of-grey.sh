#!/usr/bin/env bash
# torch 2.14.1: the gradient of hypot is NaN where both sides are 0, as the chroma of every grey pixel is.
#
# Seen: `torch.hypot(a, b)` at a = b = 0 has the gradient (nan, nan); `torch.linalg.vector_norm` of the pair and the `abs` of the complex
# number a + bi, which are the same function, have (0, 0).
# Expected: (0, 0). The notes on autograd give the rule for such points: of a convex function, the subgradient of least norm. One grey
# pixel in an image makes the gradient of the whole loss NaN where it flows through a shared value.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1
venv/bin/python - <<'PYTHON'
import torch


def slopes(length) -> list[float]:
    a, b = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
    return [g.item() for g in torch.autograd.grad(length(a, b), (a, b))]


hypot = slopes(torch.hypot)
norm = slopes(lambda a, b: torch.linalg.vector_norm(torch.stack([a, b])))
modulus = slopes(lambda a, b: torch.complex(a, b).abs())
print("hypot", hypot, "vector_norm", norm, "complex abs", modulus)
assert all(g != g for g in hypot) and norm == modulus == [0.0, 0.0]
PYTHON
