"""Measure which rows of a campaign change on other machines: python -m benchmarks.reproducibility [--torch 2.4=FOLDER ...]

One small campaign runs again and again, each time under one other condition: other instructions of the processor, other
threads, other releases of PyTorch. Each run's rows are held against those of the first.

    --part cifar    ResNet20s on CIFAR-10, five cells
    --part lite0    EfficientNet-Lite0 on photographs, two cells

A condition takes instructions from the processor: oneDNN (convolutions) and PyTorch's own loops read environment variables,
and without bf16 an attack takes its gradients in float32, as on a processor that lacks it. `--torch NAME=FOLDER`
adds a release of PyTorch that `pip install --target FOLDER torch==...` has installed; the folder comes first on the path.

A line for each condition and cell, against the first run, or against another by `--against "float32 gradients"`:

    rows      rows in which any value differs; what only says how a run went (time, device, versions, unit) is left out
    clean     evaluation draws of clean images whose first class differs, and images that change sides: right in most draws
    examples  examples of which any pixel differs, or the L2 distance where none are stored; how far distances differ, in %
    attacked  evaluation draws of examples whose first class differs, and images that change sides: right in most draws
    accuracy  of single draws under attack in %, and the paired difference in points with its 95 % interval over images
    margin    largest difference of the margins of clean images; of the mean gradient norms, in %
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.setting import CIFAR, DATA
from pipeline.scoring.intervals import difference
from pipeline.store.rows import results
from pipeline.store.schema import MEASURED

NO_BF16 = "torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: False"
RUN = "import torch\n{before}\nimport sys\nfrom pipeline.__main__ import main\nsys.argv[0] = 'barrage'\nmain()"


@dataclass(frozen=True)
class Condition:
    """Hold under what a campaign runs: environment variables, a line of Python before it, keys of the campaign file."""

    environment: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)


def machine(onednn: str, aten: str) -> Condition:
    """Return a processor with these instructions and without bf16."""
    return Condition({"ONEDNN_MAX_CPU_ISA": onednn, "ATEN_CPU_CAPABILITY": aten}, NO_BF16)


CONDITIONS = {
    "first": Condition(),
    "again": Condition(),
    "2 threads": Condition({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}),
    "stacks of 4 draws": Condition(keys={"workers": {"cpus": 1, "stack": 4}}),
    "bf16 by AVX-512 without its instructions": Condition({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
    "float32 gradients": Condition(before=NO_BF16),
    "AVX-512, no bf16": machine("AVX512_CORE", "avx512"),
    "AVX2, no bf16": machine("AVX2", "avx2"),
    "SSE 4.1, no bf16": machine("SSE41", "default"),
    "another seed": Condition(keys={"seed": 1}),
}
"""{what is other than in the first run: the condition}. Another seed is the yardstick: what chance alone does."""


def released(name: str, folder: str) -> dict[str, Condition]:
    """Return a release of PyTorch as it is, and without bf16, which the first run is compared with too."""
    path = {"PYTHONPATH": os.pathsep.join((str(Path(folder).resolve()), os.environ.get("PYTHONPATH", os.getcwd())))}
    return {f"torch {name}": Condition(path), f"torch {name}, float32 gradients": Condition(path, NO_BF16)}


def campaign(part: str, images: int) -> dict[str, Any]:
    """Return the campaign of a part."""
    content: dict[str, Any] = {
        "name": f"reproducibility-{part}",
        "defenses": {"none": {"k": 0}, "bart5": {"k": 5}},
        "save_adversarial": True,
        "unit_images": images,
        "workers": {"cpus": 1, "stack": 64},
    }
    if part == "lite0":
        return content | {
            "data": {"shards": str(min(DATA.glob("*.tar"))), "limit": images},
            "models": {"lite0": {"architecture": "efficientnet_lite0"}},
            "attacks": {"pgd": {"eps": "8/255", "steps": 4, "eot_draws": 2}},
            "cells": [{"model": "lite0", "defense": ["none", "bart5"], "attack": ["pgd"]}],
            "evaluation_draws": 5,
        }
    weights = {name: f"campaigns/weights/cifar10-{name}.safetensors" for name in ("bart", "adversarial")}
    return content | {
        "data": {"shards": str(CIFAR), "resize": None, "crop": 32, "limit": images},
        "models": {name: {"architecture": "resnet20_cifar", "classes": 10, "weights": file} for name, file in weights.items()},
        "attacks": {
            "pgd": {"eps": "8/255", "steps": 8, "eot_draws": 4},
            "standard": {"eps": "8/255", "budget": 32},
            "square": {"kind": "square", "eps": "8/255", "steps": 20, "eot_draws": 4},
        },
        "cells": [
            {"model": "bart", "defense": ["bart5"], "attack": ["pgd", "standard", "square"]},
            {"model": "adversarial", "defense": ["none", "bart5"], "attack": ["pgd"]},
        ],
        "evaluation_draws": 20,
    }


def part_of(store: Path, images: int, cells: str) -> dict[str, Any]:
    """Return the campaign of a store with its first images alone, and the cells whose names fit a pattern such as "bart-*"."""
    content: dict[str, Any] = yaml.safe_load((store / "campaign.yaml").read_text())["campaign"]
    names = [names for each in content["cells"] for names in product(each["model"], each["defense"], each["attack"])]
    chosen = [dict(zip(("model", "defense", "attack"), one, strict=True)) for one in names if fnmatchcase("-".join(one), cells)]
    if not chosen:
        raise SystemExit(f"no cell of {store} fits {cells!r}: its cells are {', '.join(map('-'.join, names))}")
    return content | {
        "data": content["data"] | {"limit": images},
        "cells": chosen,
        "save_adversarial": True,
        "workers": {"cpus": 1},
    }


Row = dict[str, Any]
RUN_ALONE = {*MEASURED, "unit", "campaign"}
"""Columns that say how a run went, or which images were asked for."""


@dataclass(frozen=True)
class Stored:
    """Hold what a run stored: {cell: {image key: row}}, and {(cell, file): bytes} of the examples."""

    rows: dict[str, dict[str, Row]]
    examples: dict[tuple[str, str], bytes]

    @classmethod
    def of(cls, store: str) -> "Stored":
        rows: dict[str, dict[str, Row]] = {}
        for row in results(store).to_pylist():
            rows.setdefault(row["cell"], {})[row["image_key"]] = {k: v for k, v in row.items() if k not in RUN_ALONE}
        examples = {}
        for path in sorted(Path(store, "adversarial").rglob("*.tar")):
            with tarfile.open(path) as tar:
                for one in tar.getmembers():
                    if (file := tar.extractfile(one)) and one.name.endswith(".png"):
                        examples[path.parent.name.removeprefix("cell="), one.name.removesuffix(".png")] = file.read()
        return cls(rows, examples)

    def pairs(self, now: "Stored", cell: str | None = None) -> list[tuple[Row, Row]]:
        """Return the rows that both hold, of a cell or of all."""
        return [
            (row, now.rows[name][image])
            for name, rows in sorted(self.rows.items())
            for image, row in rows.items()
            if cell in (None, name) and image in now.rows.get(name, ())
        ]

    def changed(self, now: "Stored", pair: tuple[Row, Row]) -> bool:
        """Return whether an example differs."""
        place = pair[0]["cell"], pair[0]["image_key"]
        if place in self.examples and place in now.examples:
            return self.examples[place] != now.examples[place]
        return bool(pair[0]["l2"] != pair[1]["l2"])


def run(condition: Condition, content: Mapping[str, Any], folder: Path) -> Stored:
    """Run a campaign under a condition, in a process of its own, and return what it stored; a finished store is only read."""
    file, store = folder / "campaign.yaml", folder / "store"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**content, **condition.keys}))
        words = [sys.executable, "-c", RUN.format(before=condition.before), "run", str(file), "--store", str(store), "--here"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **condition.environment}
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{condition}: {done.stderr.strip()}")
        (folder / "done").touch()
    return Stored.of(str(store))


def flips(pairs: list[tuple[Row, Row]], side: str) -> str:
    """Return how many draws have another first class, and how many images are no more right in most draws, or are now."""
    tops = [(a[f"{side}_top5"], b[f"{side}_top5"]) for a, b in pairs]
    draws = sum(x[0] != y[0] for a, b in tops for x, y in zip(a, b, strict=True))
    sides = [[2 * row[f"{side}_correct"] > row["evaluation_draws"] for row in pair] for pair in pairs]
    votes = sum(before != now for before, now in sides)
    return f"{draws:4} of {sum(len(a) for a, _ in tops)} draws, {votes:2} images"


def largest(pairs: list[tuple[Row, Row]], name: str, relative: bool = False) -> float:
    """Return the largest difference of a column, or of that as a share of the first value."""
    both = [(a[name], b[name]) for a, b in pairs if a[name] is not None and b[name] is not None]
    return max((abs(a - b) / (abs(a) or 1 if relative else 1) for a, b in both), default=0.0)


def line(first: Stored, now: Stored, cell: str | None = None) -> str:
    """Return how the rows of a cell, or all, differ from those of the first run."""
    pairs = first.pairs(now, cell)
    changed = sum(a != b for a, b in pairs)
    examples = sum(first.changed(now, pair) for pair in pairs)
    shares = np.array([[row["adv_correct"] / row["evaluation_draws"] for row in pair] for pair in pairs])
    found = difference(shares[:, 1], shares[:, 0])
    return (
        f"  {cell or 'all':<21} rows {changed:2} of {len(pairs)}   clean {flips(pairs, 'clean')}   "
        f"examples {examples:2}, L2 {100 * largest(pairs, 'l2', True):.2g} %   attacked {flips(pairs, 'adv')}   "
        f"accuracy {100 * shares[:, 1].mean():5.1f}, {found}   "
        f"margin {largest(pairs, 'clean_margin'):.1e}, norm {100 * largest(pairs, 'gradient_norm', True):.2g} %"
    )


def lines(content: Mapping[str, Any], conditions: Mapping[str, Condition], keep: Path) -> Iterator[str]:
    """Yield the lines of a part; the first of the conditions is what the others are held against."""
    first: Stored | None = None
    for name, condition in conditions.items():
        now = run(condition, content, keep / re.sub(r"[^a-z0-9]+", "-", f"{content['name']} {name}".lower()))
        first = first or now
        yield name
        yield from compared(first, now)


def compared(first: Stored, now: Stored) -> Iterator[str]:
    """Yield a line for each cell that both runs hold, and one for all."""
    yield from (line(first, now, cell) for cell in sorted(first.rows.keys() & now.rows.keys()))
    yield line(first, now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["cifar", "lite0"], default="cifar")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--torch", nargs="*", default=[], metavar="NAME=FOLDER", help="other releases of PyTorch")
    parser.add_argument("--keep", type=Path, help="folder of what is done: it goes on from there after a restart")
    parser.add_argument("--only", nargs="*", help="some conditions; default: all")
    parser.add_argument("--against", default="first", help="the condition that the others are held against")
    parser.add_argument("--shipped", type=Path, metavar="STORE", help="run a part of this store's campaign, against its rows")
    parser.add_argument("--cells", default="*", help="of the store: the cells whose names fit")
    args = parser.parse_args()
    what = args.shipped.name if args.shipped else args.part
    print(f"{what}, {args.images} images, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        keep = args.keep or Path(folder)
        for text in against_store(args, keep) if args.shipped else against_runs(args, keep):
            print(text, flush=True)


def against_store(args: argparse.Namespace, keep: Path) -> Iterator[str]:
    """Yield the lines of a stored campaign that is run again."""
    content = part_of(args.shipped, args.images, args.cells)
    place = re.sub(r"[^a-z0-9]+", "-", f"{content['name']} {args.images} {args.cells}".lower())
    yield from compared(Stored.of(str(args.shipped)), run(Condition(), content, keep / place))


def against_runs(args: argparse.Namespace, keep: Path) -> Iterator[str]:
    """Yield the lines of a part under each condition."""
    others = [one.partition("=") for one in args.torch]
    conditions = CONDITIONS | {key: value for name, _, folder in others for key, value in released(name, folder).items()}
    some = [args.against, *(name for name in conditions if name != args.against and (not args.only or name in args.only))]
    chosen = {name: conditions[name] for name in some}
    yield from lines(campaign(args.part, args.images), chosen, keep)


if __name__ == "__main__":
    main()
