#!/usr/bin/env bash
# litdata 0.2.76 reads later samples by the type and the shape of the first: wrong numbers, no error.
#
# Seen: after a first sample of two float32, a sample of two int64 ones reads back as four numbers near 0, and a 2 x 2 tensor of ones as
# four in a row. After a first sample that is two-dimensional both come back as they were.
# Expected: the values, or an error at writing. Its pages let a sample be a dictionary of tensors, and name no limit. One-dimensional
# tensors are stored without their type and shape, which are taken from the first sample for all.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 litdata==0.2.76 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import tempfile

import torch
from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter


def second(first: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    folder = tempfile.mkdtemp(dir=".")
    writer = BinaryWriter(folder, chunk_bytes=10**6)
    for i, tensor in enumerate((first, other)):
        writer[i] = {"x": tensor}
    writer.done()
    writer.merge(1)
    return StreamingDataset(folder)[1]["x"]


ones, whole, square = torch.ones(2), torch.ones(2, dtype=torch.int64), torch.ones(2, 2)
numbers, shape = second(ones, whole), second(ones, square)
print("int64 ones:", numbers, "2 x 2 ones:", tuple(shape.shape))
assert numbers.dtype == torch.float32 and len(numbers) == 4 and numbers.abs().max() < 1e-30
assert shape.shape == (4,)
right = second(square, whole.view(1, 2))
assert right.dtype == torch.int64 and right.tolist() == [[1, 1]]
PYTHON
