"""Trackers of another package: one that writes down what it is told, and some that do what none should."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from pipeline.tracking.table import Kind


class Recording:
    """Write a line of JSON for every call into the file that stands behind --track."""

    def __init__(self, run):
        self.place, self.file = f"the file {run.destination}", Path(run.destination)
        self.write(start=asdict(run))

    def log(self, figures, images):
        self.write(log=dict(figures), images=images)

    def end(self, exit_code):
        self.write(end=exit_code)

    def write(self, **said):
        with self.file.open("a") as file:
            file.write(json.dumps(said) + "\n")


class Loud(Recording):
    """Print, and read what is not for it."""

    def log(self, figures, images):
        print("loud" * 100_000)
        sys.stderr.write("loud" * 100_000)
        self.write(read=sys.stdin.read())
        super().log(figures, images)


class Broken(Recording):
    """Fail at every figure, as without a network."""

    def log(self, figures, images):
        raise ConnectionError("no route\nto host")


class Away:
    """Fail at the start."""

    def __init__(self, run):
        raise OSError(f"{run.destination} is down")


class Hanging(Recording):
    """Answer nothing."""

    def log(self, figures, images):
        time.sleep(1000)


class Leaving(Recording):
    """End the process that it is in."""

    def log(self, figures, images):
        os._exit(3)


BARRAGE_PLUGINS = {
    "trackers": {kind.__name__.lower(): Kind(kind, "json") for kind in (Recording, Loud, Broken, Away, Hanging, Leaving)}
    | {"absent": Kind(Recording, "nowhere")}
}


def told(file):
    """Return what a recording tracker was told, in order."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]
