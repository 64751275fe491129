"""Write what is measured on: shards of CIFAR-10, whose images repeat once all were taken, and a campaign of two cheap cells."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import yaml

from pipeline.data import shards
from pipeline.data.tars.writing import packed

ROOT = Path(__file__).parents[2]
DATA = ROOT / "../shared/data/cifar10"
SHARD = 1000
"""Images of a shard."""


def _images() -> Iterator[tuple[bytes, int]]:
    """Yield the files of all 60,000 images with their labels. Raises SystemExit if they are not there."""
    found = sorted(DATA.glob("cifar10-*.tar"))
    if not found:
        raise SystemExit(f"{DATA} has no shards cifar10-*.tar: this benchmark needs the images of CIFAR-10")
    for path in found:
        shard = shards.inspect(path)
        for sample in shards.read(shard, range(shard.images)):
            yield sample.image, sample.label


def write(folder: Path, images: int) -> None:
    """Write the first `images` images as shards of SHARD into a folder. A repeated image has a key of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    source = enumerate(islice(cycle(_images()), images))
    number = 0
    while part := list(islice(source, SHARD)):
        files = ((f"{place:06d}.{ending}", data) for place, (image, label) in part for ending, data in _pair(image, label))
        (folder / f"images-{number:06d}.tar").write_bytes(packed(files))
        number += 1


def _pair(image: bytes, label: int) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    return ("jpg", image), ("cls", str(label).encode())


def campaign(path: Path, folder: Path, images: int) -> None:
    """Write the file of a campaign on the first `images` images of a folder of shards."""
    content: dict[str, Any] = {
        "name": "large",
        "data": {"shards": f"{folder}/images-{{000000..{images // SHARD - 1:06d}}}.tar", "resize": None, "crop": 32},
        "models": {
            "plain": {
                "architecture": "resnet20_cifar",
                "classes": 10,
                "weights": str(ROOT / "campaigns/weights/cifar10-plain.safetensors"),
            }
        },
        "defenses": {"none": {"k": 0}},
        "attacks": {
            "noop": {"kind": "noise", "eps": 1e-6, "steps": 1},  # less than half a step of 8 bits: the image itself
            "fgsm": {"kind": "fgsm", "eps": "8/255"},
        },
        "cells": [{"model": "plain", "defense": "none", "attack": ["noop", "fgsm"]}],
        "save_adversarial": False,
        "workers": {"cpus": 1, "stack": 64},
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
