"""The network of the campaigns under faults. It counts its work, takes as long as it is told to, and its clock jumps.

What it is told, and what it counts, are files of the folder BARRAGE_CHAOS, so that every process of a campaign, wherever Ray
started it, hears of them: `work` grows by one byte an image and pass, `pace` holds the seconds of a pass, and `clock` the
seconds by which `time.time` is off, from the moment that the file is there.
"""

import os
import time
from pathlib import Path

import torch

from tests.support import tiny

FOLDER = Path(os.environ.get("BARRAGE_CHAOS", "/nowhere"))
_true_time = time.time


def told(name):
    """The number in a file, or 0."""
    try:
        return float((FOLDER / name).read_text() or 0)
    except OSError:
        return 0.0


class Jitter(torch.nn.Module):
    """Somebody's defense: each image moves a little, gets noise, and loses some pixels."""

    def forward(self, x):
        moved = x.roll(int(torch.randint(-2, 3, ())), 3)
        return torch.nn.functional.dropout((moved + 0.05 * torch.randn_like(x)).clamp(0, 1), 0.1, True)


def network():
    """The network of `tiny`, at the pace that it is told."""

    def count(module, inputs):
        with (FOLDER / "work").open("ab", buffering=0) as work:
            work.write(b"." * len(inputs[0]))
        time.sleep(told("pace"))

    layers = tiny.network()
    if FOLDER.is_dir():
        layers.register_forward_pre_hook(count)
    return layers


if FOLDER.is_dir():
    time.time = lambda: _true_time() + told("clock")
