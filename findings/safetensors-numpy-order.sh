#!/usr/bin/env bash
# safetensors 0.8.0 stores other values than those of a NumPy array that is not in C order.
#
# Seen: `safetensors.numpy.save` of a transposed, a Fortran-ordered and a strided array raises nothing; what `load` returns has the right
# shape and other values.
# Expected: the values, or an error. The page of the format says that tensors must be contiguous and in row-major order;
# `safetensors.torch.save` refuses a tensor that is not, with a message that names the remedy. NumPy makes such arrays from `a.T`, `a[:,
# ::2]` and every HWC -> CHW `transpose` of an image.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

a = np.arange(6.0).reshape(2, 3)
arrays = {"transposed": a.T, "fortran": np.asfortranarray(a), "strided": a[:, ::2]}
right = {}
for name, array in arrays.items():
    back = load(save({"a": array}))["a"]
    right[name] = back.shape == array.shape and bool((back == array).all())
    print(name, array.tolist(), "->", back.tolist())
assert not any(right.values()), right
assert (load(save({"a": a}))["a"] == a).all()
PYTHON
