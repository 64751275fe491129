#!/usr/bin/env bash
# torch 2.14.1: checkpoint repeats what the global generator drew, and draws anew from a generator that was passed.
#
# Seen: for y = (x r)^2 with r = torch.rand(4, generator=g) the gradient at x = 1 should be 2 y. With the global generator it is; with g
# it is that of other numbers, and nothing warns.
# Expected: the same gradient. The page of torch.utils.checkpoint says that random state is put back by default so that the second run
# equals the first, and that its default check of determinism compares what was saved. It compares shapes, types and devices, which are
# right here.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1
venv/bin/python - <<'PYTHON'
import torch
from torch.utils.checkpoint import checkpoint

own = torch.Generator().manual_seed(0)


def far(generator: torch.Generator | None) -> float:
    x = torch.ones(4, requires_grad=True)
    y = checkpoint(lambda x: (x * torch.rand(4, generator=generator)).square(), x, use_reentrant=False)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    return (gradient - 2 * y.detach()).abs().max().item()


torch.manual_seed(0)
error = {"global generator": far(None), "own generator": far(own)}
print(error)
assert error["global generator"] < 1e-6 and error["own generator"] > 0.01
PYTHON
