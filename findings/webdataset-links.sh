#!/usr/bin/env bash
# WebDataset 1.0.2 drops links of a tar in silence: their samples come without an image.
#
# Seen: of two images that are one file on the disk, GNU tar and Python's tarfile store the second as a hard link to the first. WebDataset
# gives its sample with a label and without an image. A symbolic link is dropped as well.
# Expected: the image, or an error. tarfile, which reads the archive below, follows both kinds (`extractfile`), and so does every
# unpacker. Hard links are how tools that find duplicates, and copies by `cp -l`, leave a folder of images.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check webdataset==1.0.2 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import os
import tarfile

import webdataset

for key in ("first", "second", "third"):
    with open(f"{key}.cls", "w") as file:
        file.write("7")
with open("first.png", "wb") as file:
    file.write(b"an image")
os.link("first.png", "second.png")
os.symlink("first.png", "third.png")
with tarfile.open("shard.tar", "w") as shard:
    for key in ("first", "second", "third"):
        shard.add(f"{key}.png")
        shard.add(f"{key}.cls")
with tarfile.open("shard.tar") as shard:
    assert all(shard.extractfile(f"{key}.png").read() == b"an image" for key in ("first", "second", "third"))
samples = {sample["__key__"]: sample.get("png") for sample in webdataset.WebDataset("shard.tar", shardshuffle=False)}
print(samples)
assert samples == {"first": b"an image", "second": None, "third": None}
PYTHON
