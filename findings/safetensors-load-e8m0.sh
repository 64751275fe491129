#!/usr/bin/env bash
# safetensors 0.8.0: `load` can't read what `save` wrote: the scales of MX formats, and 4-bit floats.
#
# Seen: of a tensor of float8_e8m0fnu, or of float4_e2m1fn_x2, `load(save({"a": t}))` raises KeyError: 'F8_E8M0' or 'F4'; `load_file` and
# `safe_open` read the same bytes from a file.
# Expected: the tensor. `load` and `load_file` are documented alike, one for bytes and one for a file, and `save` accepts both types. Weights
# in MX formats, whose scales are float8_e8m0fnu, can't be read from a store or an archive without a file in between.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 safetensors==0.8.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from safetensors.torch import load, load_file, save

seen = {}
for kind in (torch.float8_e4m3fn, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2):
    scales = torch.arange(124, 132, dtype=torch.uint8).view(kind)
    written = save({"a": scales})
    with open("a.safetensors", "wb") as file:
        file.write(written)
    from_file = load_file("a.safetensors")["a"]
    assert torch.equal(from_file.view(torch.uint8), scales.view(torch.uint8))
    try:
        load(written)
        seen[str(kind)] = "read"
    except KeyError as error:
        seen[str(kind)] = f"KeyError {error}"
print(seen)
assert seen == {
    "torch.float8_e4m3fn": "read",
    "torch.float8_e8m0fnu": "KeyError 'F8_E8M0'",
    "torch.float4_e2m1fn_x2": "KeyError 'F4'",
}
PYTHON
