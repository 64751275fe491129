"""What the README tells a reader to type."""

import re
from pathlib import Path

import torch
from torch import nn

from pipeline import recipe, training
from pipeline.campaign import load
from tests.bart.transforms.checks import photographs
from tests.pipeline import synthetic

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs():
    _, code = re.findall(r"```python\n(.*?)```", README, re.S)
    code = code.replace("steps=40", "steps=2").replace("draws=10", "draws=2")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    names = {"my_network": network, "x": photographs(224, 224, 2), "label": torch.tensor([1, 2])}
    exec(code, names)
    assert names["verdict"].top5.shape == (2, 20, 5) and names["state"].step.host.tolist() == [2, 2]


def test_the_analysis_example_runs(tmp_path, monkeypatch):
    model = {"lite0": {"architecture": "efficientnet_lite0"}}
    cells = [{"model": "lite0", "defense": ["none", "bart5", "bart10"], "attack": "pgd"}]
    asked = synthetic.campaign([0, 5, 10], {"pgd": {"eps": "8/255"}}, models=model, cells=cells)
    synthetic.store(tmp_path / "demo" / "store", asked, images=20, unit_images=10)
    monkeypatch.chdir(tmp_path)
    code, _ = re.findall(r"```python\n(.*?)```", README, re.S)
    names = {}
    exec(code, names)
    assert len(names["scores"]) == 3 * 20


def test_every_file_that_the_pages_name_is_there():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_campaign_that_ships_is_valid():
    files = set((ROOT / "campaigns").glob("*.yaml"))
    trainings = {file for file in files if file.name.startswith("bpda")}
    assert files - trainings and all(load(file).cells for file in files - trainings)
    assert trainings and all(len(training.load(file).transforms) == 25 for file in trainings)
    classifiers = sorted((ROOT / "campaigns" / "train").glob("*.yaml"))
    assert len(classifiers) >= 4 and all(recipe.load(file).store == f"stores/{file.stem}" for file in classifiers)


def test_the_commands_named_are_the_makefiles():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?make ([a-z]+)", README)) & targets >= {"demo", "test"}
