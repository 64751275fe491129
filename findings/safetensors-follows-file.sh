#!/usr/bin/env bash
# safetensors 0.8.0: tensors that were loaded change when their file is written again in place.
#
# Seen: of weights loaded with `safetensors.torch.load_file`, the last number turns from 7 to 9 when another program writes 9 there. With
# `torch.load` of a .pt file it stays.
# Expected: that loaded weights are the program's own. The documentation of load_file says that it loads a file into torch's format and
# returns a dictionary of tensors; no word tells that they are views of the file, which others may write. A long run whose checkpoint is
# updated in place (rsync --inplace) goes on with other weights.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 safetensors==0.8.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import struct

import torch
from safetensors.torch import load_file, save_file


def after_write(path: str, weights: torch.Tensor) -> float:
    content = open(path, "rb").read()
    place = content.rindex(struct.pack("<2f", 7, 7)) + 4
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(struct.pack("<f", 9))
    return weights[-1].item()


save_file({"w": torch.full((2,), 7.0)}, "w.safetensors")
torch.save({"w": torch.full((2,), 7.0)}, "w.pt")
seen = {"safetensors": after_write("w.safetensors", load_file("w.safetensors")["w"]), "torch": after_write("w.pt", torch.load("w.pt")["w"])}
print(seen)
assert seen == {"safetensors": 9.0, "torch": 7.0}
PYTHON
