"""A classifier and photographs small enough for tests of the engine, where real ones would only take time."""

import io

import numpy as np
import torch
from PIL import Image
from torch import nn

from pipeline.data.pack import pack

CLASSES = 10
SHARDS = "photos-{000000..000001}.tar"
"""The names of the shards that `packed` makes."""


def network():
    """A fixed random convolutional network for 32 px images, 10 classes."""
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return layers


class Wavy(nn.Module):
    """Classify images of 8 px by a smooth network far from linear, so that means of losses, logits and probabilities differ."""

    def __init__(self, classes):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(3 * 8 * 8, 16, generator=generator) * 0.1)
        self.second = nn.Parameter(torch.randn(16, classes, generator=generator))

    def forward(self, x):
        return (x.flatten(1) @ self.first).sin() @ self.second


def slow_network():
    """Return the same network, but every pass takes at least 20 ms, or the seconds of TINY_PAUSE: time to kill it."""
    import os
    import time

    def wait(module, inputs):
        time.sleep(float(os.environ.get("TINY_PAUSE", "0.02")))

    layers = network()
    layers.register_forward_pre_hook(wait)
    return layers


REFUSED = []
"""The images, (3, 32, 32) in [0, 1], that `picky_network` refuses."""


def picky_network():
    """Return the same network, which raises an error for some images, wherever they stand in a batch."""
    layers = network()

    def look(module, inputs):
        for image in REFUSED:
            if (inputs[0] == image).flatten(1).all(1).any():
                raise RuntimeError(f"{object()} is not what I like")

    layers.register_forward_pre_hook(look)
    return layers


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
for says_its_normalisation in (network, slow_network):
    says_its_normalisation.preprocessing = IMAGENET  # type: ignore[attr-defined]


def picture(seed, side=40):
    """A smooth random image as PNG bytes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def packed(folder):
    """Eight such images below a folder, and the folder of their two shards, of 5 and 3."""
    images = folder / "images"
    images.mkdir()
    files = []
    for i in range(8):
        path = images / f"image{i}.png"
        path.write_bytes(picture(i))
        files.append((path, i % CLASSES))
    pack(files, folder / "shards", "photos", per_shard=5)
    return folder / "shards"


def campaign(shards, **changes):
    """A campaign over such images as a mapping: undefended, and behind two transforms."""
    content = {
        "name": "tiny",
        "data": {"shards": shards, "resize": None, "crop": 32},
        "models": {"net": {"architecture": "tests.support.tiny:network", "classes": CLASSES}},
        "defenses": {"none": {"k": 0}, "bart2": {"k": 2, "transforms": ["color_precision", "grey_mix", "grey_one_channel"]}},
        "attacks": {"pgd": {"eps": "8/255", "steps": 6, "step_size": "2/255", "eot_draws": 3}},
        "cells": [{"model": "net", "defense": ["none", "bart2"], "attack": "pgd"}],
        "evaluation_draws": 4,
        "unit_images": 3,
        "workers": {"checkpoint_seconds": 0.01},
    }
    return content | changes


def network_of_seven_classes():
    """Return a model of the classes 0 to 6 only, for images whose labels go up to 7."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))


network_of_seven_classes.preprocessing = IMAGENET  # type: ignore[attr-defined]


def thousand_classes():
    """Return a model of the classes of ImageNet that knows the mean colour of an image alone."""
    colours = nn.Linear(3, 1000)
    with torch.no_grad():
        for parameter in colours.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).sin().view(parameter.shape))
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), colours)


thousand_classes.preprocessing = IMAGENET  # type: ignore[attr-defined]


def campaign_of_nothing():
    """A factory that gives no network."""
    return {}


class Decides(nn.Module):
    """One-hot answers of the network: right or wrong as it is, and no gradient."""

    preprocessing = IMAGENET

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return nn.functional.one_hot(self.inner(x).argmax(1), CLASSES).float()
