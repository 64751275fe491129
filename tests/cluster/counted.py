"""A network that writes down each of its passes, and takes its time over them until it is let go."""

import itertools
import os
import time
from pathlib import Path

from tests.support import tiny

FREE, PACE, HELD = 60, 0.05, 1.0
"""While it is held, so many passes of a process take so long, then each that long: a checkpoint is soon there, the end far."""


def network():
    """The one of `tiny`; it leaves lines in the folder COUNTED, and is held as long as the file `hold` is there."""
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
    """{(node, process): the times of its passes}"""
    found = {}
    for path in Path(folder).glob("*-*"):
        node, _, pid = path.name.rpartition("-")
        found[node, int(pid)] = [float(line) for line in path.read_text().split()]
    return found
