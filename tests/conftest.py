"""Hold what tests of more than one room need: small shards, campaign files, the command, a browser."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from barrage_plugins import modules
from pipeline.__main__ import main
from tests.support import tiny
from tests.support.campaigns import ran
from tests.support.session.once import folder, once
from tests.support.session.scheduling import pytest_collection_modifyitems, pytest_xdist_auto_num_workers

__all__ = ["pytest_collection_modifyitems", "pytest_xdist_auto_num_workers"]

torch.set_num_threads(1)  # small tensors: threads only get into each other's way

os.environ["BARRAGE_ALLOW_MODULES"] = "tests"  # campaigns of the tests bring networks of their own

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="session", autouse=True)
def unsynced():
    """Skip `fsync` in the processes of the tests: they kill processes, never the machine, and each call waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def as_it_was(tmp_path_factory):
    """Put back what a test allows in this process: modules and folders; forget those that it imported from folders of tests."""
    allowed, folders, failures = set(modules._allowed), dict(modules._folders), dict(modules._failures)
    before, path, environment = set(sys.modules), list(sys.path), os.environ.get(modules.ALLOW)
    yield
    for kept, was in ((modules._allowed, allowed), (modules._folders, folders), (modules._failures, failures)):
        kept.clear()
        kept.update(was)
    sys.path[:] = path
    assert os.environ.get(modules.ALLOW) == environment, f"a test left {modules.ALLOW} behind: use monkeypatch"
    strange = str(tmp_path_factory.getbasetemp().parent)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(strange):
            del sys.modules[name]


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """Return a folder with eight images below images/ and two shards of 5 and 3 of them below shards/; for reading only."""
    return once(folder(tmp_path_factory) / "packed", tiny.packed)


@pytest.fixture(scope="session")
def pattern(packed):
    """Return the pattern of these two shards; for reading only."""
    return str(packed / "shards" / tiny.SHARDS)


@pytest.fixture
def shards(packed, tmp_path):
    """Return a folder of two such shards that a test may damage; their images are in images/ next to it."""
    shutil.copytree(packed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "shards"


@pytest.fixture(scope="session")
def finished(tmp_path_factory, packed):
    """Return a function that returns the finished store of `tiny.campaign(pattern, **changes)`; for reading only."""

    def store(**changes):
        content = tiny.campaign(str(packed / "shards" / tiny.SHARDS), **changes)
        name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return once(folder(tmp_path_factory) / f"finished-{name}", lambda place: ran(content, place))

    return store


@pytest.fixture
def copied(finished, tmp_path):
    """Return a function that copies such a store to `tmp_path / name`, where a test may change it, and returns the copy."""
    return lambda name="store", **changes: Path(shutil.copytree(finished(**changes), tmp_path / name))


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
