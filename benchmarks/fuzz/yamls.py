"""Change campaign and training files: bytes, and values of the parsed file; what is accepted must hold what the file says."""

import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import yaml
from pydantic import BaseModel

from benchmarks.fuzz.changes import mutated, revalued
from benchmarks.fuzz.kind import OTHER, SAME, Kind, Unsound, twice
from pipeline.config import bpda_training, campaign, classifier_training
from pipeline.config.attacks.presets import expanded

ROOT = Path(__file__).parents[2] / "campaigns"

FULL = {
    "name": "full", "seed": 3, "evaluation_draws": 4, "unit_images": 3, "save_adversarial": False, "skip_misclassified": "vote",
    "data": {"shards": ["x-{000000..000001}.tar"], "resize": 40, "crop": 32, "limit": 6, "exif": True},
    "models": {"net": {"architecture": "torchvision:resnet18", "weights": "random", "classes": 10, "mean": [0.5, 0.5, 0.5]}},
    "defenses": {"none": {"k": 0}, "bart": {"k": 2, "transforms": ["color_precision", "grey_mix"]}},
    "attacks": {
        "pgd": {"eps": "8/255", "steps": 6, "step_size": "2/255", "eot_draws": 3, "goal": "untargeted"},
        "l2": {"norm": "l2", "eps": 0.5, "steps": 4, "step_size": 0.1, "restarts": 2},
        "square": {"kind": "square", "eps": "8/255", "steps": 10},
    },
    "cells": [
        {"model": "net", "defense": ["none", "bart"], "attack": ["pgd", "l2"]},
        {"model": "net", "defense": "bart", "attack": "square"},
    ],
    "stop": {"interval": 0.1, "rule": "single", "minimum_images": 20},
    "workers": {"count": 2, "cpus": 1, "gpus": 0, "labels": {"a": "b"}, "checkpoint_seconds": 5},
}  # fmt: skip
"""A campaign with nearly all keys."""

Load = Callable[[Path], BaseModel]


class Yamls(Kind):
    """Load mutated campaign and training files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shipped: list[tuple[str, Load]] = [(path.read_text(), campaign.load) for path in sorted(ROOT.glob("*.yaml"))]
        shipped = [(text, load) for text, load in shipped if "cells:" in text]
        self.sound: list[tuple[str, Load]] = [
            *((yaml.safe_dump(FULL, sort_keys=False), campaign.load) for _ in range(len(shipped))),
            *shipped,
            *((path.read_text(), classifier_training.load) for path in sorted((ROOT / "train").glob("*.yaml"))),
            *((path.read_text(), bpda_training.load) for path in sorted(ROOT.glob("bpda*.yaml"))),
        ]

    def attempt(self, chance: Random) -> str:
        """Load one mutant; see `Kind.attempt`."""
        text, load = chance.choice(self.sound)
        path = self.folder / "c.yaml"
        tree = None
        if chance.random() < 0.7:
            tree = yaml.safe_load(text)
            for _ in range(chance.choice((1, 1, 1, 2))):
                tree = revalued(tree, chance)
            path.write_bytes(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass"))
        else:
            path.write_bytes(mutated(text.encode(), chance))
        found = twice(lambda: load(path))
        assert isinstance(found, BaseModel)
        said = yaml.safe_load(path.read_bytes())
        dumped = found.model_dump(mode="json")
        if wrong := next(_lost(said, dumped, ""), ""):
            raise Unsound(wrong)
        path.write_text(yaml.safe_dump(dumped, sort_keys=False))
        if (again := load(path)) != found:
            raise Unsound(f"written and read again it is {again!r:.500}, before {found!r:.500}")
        if isinstance(found, campaign.Campaign):
            _check_cells(found)
        return SAME if said == yaml.safe_load(text) else OTHER


def _check_cells(found: campaign.Campaign) -> None:
    """Reckon what each cell of a campaign costs, and its identity. Raises Unsound for numbers that cannot be."""
    for cell in found.grid():
        numbers = cell.cost.gradients, cell.cost.forwards, cell.judged_by, cell.eot_draws
        if min(numbers) < 0 or len(cell.identity) != 16 or not all(map(math.isfinite, numbers)):
            raise Unsound(f"cell {cell.name} costs {numbers}")


def _lost(said: Any, held: Any, where: str) -> Iterator[str]:
    """Yield what a file says and the accepted settings do not hold."""
    if isinstance(said, dict) and isinstance(held, dict):
        if re.fullmatch(r"\.attacks\.[^.]+", where) and "preset" in said:
            said = expanded(said)  # a preset is held as the settings that it stands for
        for key, value in said.items():
            if key not in held:
                yield f"{where}.{key} was accepted and is lost"
            else:
                yield from _lost(value, held[key], f"{where}.{key}")
    elif isinstance(said, list) and isinstance(held, list | tuple) and len(said) == len(held):
        for place, (one, other) in enumerate(zip(said, held, strict=True)):
            yield from _lost(one, other, f"{where}[{place}]")
    elif not _same(said, held):
        yield f"{where}: {said!r:.200} became {held!r:.200}"


def _same(said: Any, held: Any) -> bool:
    """Return whether a value of the file is what the settings hold: 8/255 as a number, one value as a list."""
    if isinstance(held, list | tuple) and not isinstance(said, list):
        return len(held) in (1, 2) and all(_same(said, one) for one in held)
    if isinstance(held, bool) or isinstance(said, bool) or said is None or held is None:
        return said is held
    if isinstance(held, int | float) and isinstance(said, str):
        return math.isclose(float(Fraction(said.replace(" ", ""))), held)
    return bool(said == held)
