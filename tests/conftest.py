"""Hold what tests of more than one room need: small shards, campaign files, the command, a browser."""

import os
import shutil
import sys

import pytest
import torch
import yaml

from pipeline.__main__ import main
from tests.support import tiny

torch.set_num_threads(1)  # small tensors: threads only get into each other's way

os.environ["BARRAGE_ALLOW_MODULES"] = "tests"  # campaigns of the tests bring networks of their own

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture
def shards(tmp_path):
    """Return a folder of two shards with 5 and 3 images."""
    return tiny.packed(tmp_path)


@pytest.fixture
def pattern(shards):
    """Return the pattern of these two shards."""
    return str(shards / "photos-{000000..000001}.tar")


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a mapping as a YAML file and returns its path."""

    def to_file(content, name="campaign.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        return path

    return to_file


@pytest.fixture
def barrage(monkeypatch, capsys):
    """Return a function that runs `barrage` in this process and returns (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["barrage", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        printed = capsys.readouterr()
        return done.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def browser():
    """Start a headless Chromium, or skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield launched
        launched.close()
