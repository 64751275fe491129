"""What the pages and the helps say of keys, columns, commands and files is what the code has."""

import re
import shlex
from pathlib import Path

import pytest

from docs import reference
from pipeline.config import bpda_training, classifier_training
from pipeline.config.campaign import load
from tests.support.source.pages import PAGES, ROOT, cli, links, name, parsed


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- end -->" in page.read_text()], ids=name)
def test_what_is_written_from_the_code_is_what_the_code_says(page):
    assert page.read_text() == reference.filled(page.read_text()), "run: python -m docs.reference"


def test_the_reference_has_every_key_column_and_command():
    text = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in ("campaign-file", "training-file", "parquet"))
    for section in {kind for part in (reference.CAMPAIGN, reference.CLASSIFIER, reference.BPDA) for _, kind in part}:
        for key, field in section.model_fields.items():
            assert f"| `{key}` |" in text and field.description in text
    assert all(f"\n### {kind}\n" in text for kind in reference.KINDS.builtin)
    assert all(f"| `{column}` |" in text for column in reference.SCHEMA.names)
    shown = {name for name, command in cli().items() if not command.hidden}
    assert set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "commands.md").read_text(), re.M)) == shown
    assert {"seal", "export"} <= shown and "compact" in cli().keys() - shown, "deprecated commands work, and are not shown"


def test_every_help_has_an_example_that_parses():
    known = "demo run plan check train status table report show replay verify pack gallery schema"
    assert set(known.split()) <= set(cli())
    assert {"launch", "doctor"} <= set(cli())
    groups = {name: group for name, group in cli().items() if hasattr(group, "commands")}
    inner = {f"{name} {command}": found for name, group in groups.items() for command, found in group.commands.items()}
    assert {"board", "board add"} <= cli().keys() | inner.keys()
    for command, found in (cli() | inner).items():
        said, _, example = " ".join(found.help.split()).rpartition(" barrage ")
        assert len(said) > 20, f"{command}: its help says too little"
        words = shlex.split(f"barrage {example}")
        whole = len(words) > 2 or not any(parameter.required for parameter in found.params)
        assert f"{example} ".startswith(f"{command} ") and whole, f"{command}: its help has no example"
        parsed(words)


def test_every_file_that_the_pages_name_is_there():
    assert sum(len(list(links(page))) for page in PAGES) > 20
    for page in PAGES:
        for link in links(page):
            assert (page.parent / link).exists(), f"{name(page)} links to {link}"


def test_the_architecture_page_names_every_file():
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = ("barrage_plugins", "bart", "pipeline", "cluster")
    for package in packages:
        inside = [path for path in (ROOT / package).iterdir() if path.name not in ("__init__.py", "__pycache__")]
        names = [f"{path.name}/" if path.is_dir() else path.name for path in inside if path.is_dir() or path.suffix == ".py"]
        missing = [found for found in names if f"`{found}`" not in text]
        assert not missing, f"docs/architecture.md says nothing of {package}: {missing}"
    there = {
        path.name
        for part in ("barrage_plugins", "bart", "pipeline", "cluster", "docs", "tests")
        for path in (ROOT / part).rglob("*.py")
    }
    assert {Path(found).name for found in re.findall(r"`([\w/]+\.py)`", text)} <= there


def test_every_campaign_that_ships_is_valid():
    files = set((ROOT / "campaigns").glob("*.yaml"))
    trainings = {file for file in files if file.name.startswith("bpda")}
    assert files - trainings and all(load(file).cells for file in files - trainings)
    assert trainings and all(len(bpda_training.load(file).transforms) == 25 for file in trainings)
    classifiers = sorted((ROOT / "campaigns" / "train").glob("*.yaml"))
    assert len(classifiers) >= 4 and all(classifier_training.load(file).store == f"stores/{file.stem}" for file in classifiers)
