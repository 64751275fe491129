"""A folder in which the commands of the pages can be typed: every file that they name is there, small enough to take seconds.

Campaigns and trainings keep their names, cells and keys, and get tiny images, models and budgets in the place of the real ones.
"""

import shutil
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from rich.console import Console

from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.data.pack import pack
from pipeline.execution import LocalExecutor
from tests.support import tiny
from tests.support.source.pages import ROOT

IMAGES = 4
KEY = "image0"
CHEAP = (
    "color_precision", "jpeg", "swirl", "noise", "fft", "zoom", "hsv", "contrast_stretch", "grey_mix", "gaussian_blur",
)  # fmt: skip
"""A transform of each group."""
BUCKET = "s3://my-bucket/val-{000000..000049}.tar"
"""Shards of the campaign that is launched and not run, which every machine sees."""
SMALL = {"steps": 1, "searches": 1, "pairs": 1, "buffers": 2}
"""Budgets of attacks."""


def small(content: dict[str, Any], shards: str) -> dict[str, Any]:
    """A campaign over tiny images, with the cells of the real one."""
    attacks = {}
    for name, attack in content["attacks"].items():
        attacks[name] = attack | {key: value for key, value in SMALL.items() if key in attack} | {"eot_draws": 2}
    return content | {
        "data": {"shards": shards, "resize": None, "crop": 32},
        "models": {name: {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES} for name in content["models"]},
        "defenses": {name: cheap(defense) for name, defense in content["defenses"].items()},
        "attacks": attacks,
        "evaluation_draws": 2,
        "unit_images": 2,
        "workers": {"checkpoint_seconds": 60},
    }


def cheap(defense: dict[str, Any]) -> dict[str, Any]:
    """A defense as it is, or a barrage that names no transforms with cheap ones."""
    return defense if "kind" in defense else {"transforms": list(CHEAP)} | defense


def small_training(content: dict[str, Any], shards: str) -> dict[str, Any]:
    """A training of a few steps over tiny images."""
    data = {"shards": shards, "resize": None, "crop": 32}
    if content["kind"] == "bpda":
        return content | {"data": data, "transforms": ["grey_mix"], "steps": 2, "batch": 2, "held_out": 2, "workers": {}}
    model = {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES, "weights": "random"}
    small = {"epochs": 1, "batch": 2, "held_out": 2, "evaluation": {"k": [0]}, "workers": {}, "augment": None, "distill": None}
    return content | {"data": data, "model": model, "barrage": {"k": [0, 1], "transforms": ["grey_mix"]}} | small


def made(folder: Path) -> Path:
    """The sandbox, in a folder that is there."""
    photos = [folder / "photos" / "a" / f"image{i}.png" for i in range(IMAGES)]
    photos[0].parent.mkdir(parents=True)
    for i, path in enumerate(photos):
        path.write_bytes(tiny.picture(i))
    pack([(path, i) for i, path in enumerate(photos)], folder / "demo" / "photos", "images")
    Image.open(photos[0]).resize((64, 64)).convert("RGB").save(folder / "photo.jpg")
    shards = str(folder / "demo" / "photos" / "images-000000.tar")
    shutil.copytree(ROOT / "board", folder / "board")
    for path in sorted((ROOT / "campaigns").rglob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        to = folder / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        of = BUCKET if path.stem == "table1" else shards
        to.write_text(yaml.safe_dump((small_training if "kind" in content else small)(content, of)))
    shutil.copytree(ROOT / "cluster", folder / "cluster", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cluster" / "ray" / "aws-example.yaml", folder / "my-aws.yaml")
    shutil.copy(folder / "campaigns" / "demo.yaml", folder / "campaign.yaml")
    shutil.copy(folder / "campaigns" / "table1.yaml", folder / "my-campaign.yaml")
    attacked(folder, "campaigns/demo.yaml", "demo/store")
    for at in ("stores/demo", "stores/imagenet-val"):
        shutil.copytree(folder / "demo" / "store", folder / at)
    shutil.rmtree(folder / "stores" / "imagenet-val")
    return folder


def attacked(folder: Path, campaign: str, store: str) -> None:
    """Runs a campaign of the sandbox."""
    content = yaml.safe_load((folder / campaign).read_text())
    job = prepare(parse(content, campaign), str(folder / store)).with_cuts({})
    assert run(job.write_down(), LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
