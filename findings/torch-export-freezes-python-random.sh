#!/usr/bin/env bash
# torch 2.14.1: torch.export makes a constant of Python's and NumPy's random numbers, and says nothing.
#
# Seen: a module that multiplies by `random.random()` and adds `numpy.random.rand()` gives one and the same output at every call once
# exported; the one with `torch.rand` still gives another at every call.
# Expected: an error or a warning. The page of torch.export promises a graph that stands for the module, and tells at length what it
# refuses; `strict=True` does refuse this module. So a random defense written with `random` is exported, without notice, as a fixed one,
# which is far easier to attack than what it stands for.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import random
import warnings

import numpy as np
import torch


class OfPython(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * random.random() + float(np.random.rand())


class OfTorch(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rand(())


def different(module: torch.nn.Module) -> int:
    exported = torch.export.export(module, (torch.ones(1),)).module()
    return len({exported(torch.ones(1)).item() for _ in range(20)})


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    of_python = different(OfPython())
about = [str(w.message) for w in caught if "random" in str(w.message)]
of_torch = different(OfTorch())
print(f"different outputs of 20 calls: python {of_python}, torch {of_torch}; warnings about it: {about}")
assert of_python == 1 and of_torch > 15 and not about
try:
    torch.export.export(OfPython(), (torch.ones(1),), strict=True)
except Exception as error:
    print("strict:", type(error).__name__)
else:
    raise SystemExit("strict export accepts it now")
PYTHON
