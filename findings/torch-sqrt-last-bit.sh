#!/usr/bin/env bash
# torch 2.14.1: square roots on a CPU are not the nearest numbers, as those of NumPy are.
#
# Seen: of 100,000 float32 numbers in [0, 1) a fifth have a `torch.sqrt` on x86 whose last bit is not that of the exact root; NumPy's are all
# exact to the last bit, and so is torch's own division. In float64 some differ too. `ATEN_CPU_CAPABILITY=default` changes nothing.
# Expected: the nearest number, which IEEE 754 demands of a root as of a division, which processors compute, and which CUDA's root is. The
# documentation names no tolerance. Noise, norms and colours that are computed on a CPU differ from those of a GPU and of NumPy by it.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import torch

numbers = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
exact = np.sqrt(numbers.double().numpy()).astype(np.float32)  # a root in 53 bits, rounded to 24, is the nearest number
divisor = numbers.flip(0) + 0.5
share = {
    "torch sqrt": (torch.sqrt(numbers).numpy() != exact).mean(),
    "numpy sqrt": (np.sqrt(numbers.numpy()) != exact).mean(),
    "torch division": ((numbers / divisor).numpy() != (numbers.double() / divisor.double()).float().numpy()).mean(),
}
print({name: float(found) for name, found in share.items()})
assert share["torch sqrt"] > 0.1
assert share["numpy sqrt"] == share["torch division"] == 0
PYTHON
