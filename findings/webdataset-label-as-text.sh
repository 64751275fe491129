#!/usr/bin/env bash
# WebDataset 1.0.2 writes a label that is a tensor as the text "tensor(3)", which its own reader can't read.
#
# Seen: `TarWriter` stores "cls": torch.tensor(3) as the bytes of "tensor(3)", np.array([3]) as "[3]", 3.0 as "3.0", and raises nothing;
# `decode()` of that shard raises. NumPy's scalars and arrays without a dimension are stored as "3".
# Expected: "3", or an error when it is written, as the same writer gives for a tensor as an image. A label from a DataLoader's
# batch, or from `MNIST.targets[i]`, is a tensor; the shards are found to be useless when they are read.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 webdataset==1.0.2 numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'PYTHON'
import tarfile

import numpy as np
import torch
import webdataset

LABELS = {"tensor": torch.tensor(3), "one": np.array([3]), "real": 3.0, "scalar": np.int64(3), "array": np.array(3), "int": 3}


def decodes(shard: str) -> bool:
    try:
        return [sample["cls"] for sample in webdataset.WebDataset(shard, shardshuffle=False).decode()] == [3]
    except Exception as error:
        print(f"    reading it: {error!r}, {error.__cause__ or error.__context__!r}"[:160])
        return False


right = {}
for name, label in LABELS.items():
    with webdataset.TarWriter(f"{name}.tar") as writer:
        writer.write({"__key__": "a", "cls": label})
    with tarfile.open(f"{name}.tar") as shard:
        print(f"{name}: {label!r} is stored as {shard.extractfile('a.cls').read()}")
    right[name] = decodes(f"{name}.tar")
assert [name for name, good in right.items() if good] == ["scalar", "array", "int"], right
try:
    with webdataset.TarWriter("image.tar") as writer:
        writer.write({"__key__": "a", "png": torch.zeros(3, 4, 4)})
except AssertionError:
    print("a tensor as an image is refused")
else:
    raise SystemExit("a tensor as an image was taken")
PYTHON
