#!/usr/bin/env bash
# datasets 5.2.0 and litdata 0.2.76 compress a JPEG image again when they are handed it as a Pillow image.
#
# Seen: an image that was opened from JPEG bytes in memory (quality 95) is stored and read back with other pixels: on noise, up to 84
# levels away. A PNG image of the same pixels comes back as it was.
# Expected: the pixels that the image object had. datasets documents that an image is stored by its bytes or its path; litdata lists
# images among what it stores. Both write a new JPEG at Pillow's default quality of 75. An adversarial perturbation of a few levels does
# not survive that, and the clean accuracy of a stored set is not that of its source.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 datasets==5.2.0 litdata==0.2.76 pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import io
import os

os.environ["HF_HOME"] = os.path.abspath("cache")
os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
from datasets import Dataset, Features
from datasets import Image as ImageColumn
from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter
from PIL import Image

pixels = (np.random.RandomState(0).rand(32, 32, 3) * 255).astype(np.uint8)


def opened(kind: str) -> Image.Image:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=95)
    return Image.open(io.BytesIO(file.getvalue()))


def by_datasets(image: Image.Image) -> np.ndarray:
    return np.asarray(Dataset.from_dict({"image": [image]}, features=Features({"image": ImageColumn()}))[0]["image"])


def by_litdata(image: Image.Image) -> np.ndarray:
    folder = f"stored-{image.format}"
    writer = BinaryWriter(folder, chunk_bytes=10**6)
    writer[0] = {"image": image}
    writer.done()
    writer.merge(1)
    back = StreamingDataset(folder)[0]["image"]
    return back.permute(1, 2, 0).numpy() if torch.is_tensor(back) else np.asarray(back)


far = {}
for store in (by_datasets, by_litdata):
    for kind in ("JPEG", "PNG"):
        far[store.__name__, kind] = int(np.abs(store(opened(kind)).astype(int) - np.asarray(opened(kind))).max())
print("levels away at most:", far)
assert far["by_datasets", "PNG"] == far["by_litdata", "PNG"] == 0
assert far["by_datasets", "JPEG"] > 5 and far["by_litdata", "JPEG"] > 5
PYTHON
