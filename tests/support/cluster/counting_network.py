"""Provide a network that writes down each of its passes, and is slow until a test lets it go on."""

import itertools
import os
import time
from pathlib import Path

from tests.support import tiny

FREE, PACE, HELD = 60, 0.05, 1.0
"""While the network is held, the first FREE passes of a process take PACE seconds each and later ones HELD seconds each: the
first checkpoint comes soon, and the end does not."""


def network():
    """Return the network of `tiny`; it writes into the folder COUNTED, and is held while the file `hold` is there."""
    folder, layers = Path(os.environ["COUNTED"]), tiny.network()
    number, name = itertools.count(), f"{os.environ.get('SLURMD_NODENAME', 'alone')}-{os.getpid()}"

    def count(module, inputs):
        if (folder / "hold").exists():
            time.sleep(PACE if next(number) < FREE else HELD)
        with (folder / name).open("a") as file:
            file.write(f"{time.time()}\n")

    layers.register_forward_pre_hook(count)
    return layers


def passes(folder):
    """Return the times of the passes, {(node, process id): [seconds since 1970]}."""
    found = {}
    for path in Path(folder).glob("*-*"):
        node, _, pid = path.name.rpartition("-")
        found[node, int(pid)] = [float(line) for line in path.read_text().split()]
    return found
