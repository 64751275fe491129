"""Import an allowed module from beside the campaign file, in workers too, and nothing that was not allowed."""

import sys

import pytest

import barrage_plugins
from barrage_plugins import modules
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import parse
from tests.support import tiny

CODE = """
from tests.support import tiny

def network():
    return tiny.network()

network.preprocessing = {"mean": [0, 0, 0], "std": [1, 1, 1]}
"""


@pytest.fixture
def beside(tmp_path, pattern, write, monkeypatch):
    """Return the path of a campaign whose model is in a module beside it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(modules, "_allowed", set())
    monkeypatch.setattr(modules, "_folders", {})
    monkeypatch.setitem(sys.modules, "beside_it", None)
    del sys.modules["beside_it"]
    (tmp_path / "beside_it.py").write_text(CODE)
    content = tiny.campaign(pattern, models={"net": {"architecture": "beside_it:network", "classes": tiny.CLASSES}})
    return write(content | {"cells": [{"model": "net", "defense": "none", "attack": "pgd"}]})


def test_a_module_beside_the_campaign_is_found_once_it_is_allowed(beside, barrage, tmp_path):
    code, _, err = barrage("run", beside, "--here", "--store", tmp_path / "store")
    assert code == 2 and "give --allow-module beside_it" in err
    assert barrage("run", beside, "--here", "--store", tmp_path / "store", "--allow-module", "beside_it")[0] == 0


def test_the_folder_is_searched_last_and_only_if_something_is_allowed(beside, monkeypatch):
    monkeypatch.delenv(modules.ALLOW, raising=False)
    barrage_plugins.allow([], [str(beside.parent)])
    assert str(beside.parent) not in sys.path and barrage_plugins.folders() == ()
    barrage_plugins.allow(["beside_it"], [str(beside.parent)])
    barrage_plugins.allow(["beside_it"], [str(beside.parent)])
    assert sys.path.count(str(beside.parent)) == 1 and sys.path[-1] == str(beside.parent)


def test_workers_search_there_too(beside, tmp_path, pattern):
    barrage_plugins.allow(["beside_it"], [str(beside.parent)])
    job = prepare(parse(tiny.campaign(pattern), "c"), str(tmp_path / "store"))
    assert job.folders == (str(beside.parent),)
    sys.path.remove(str(beside.parent))
    Worker(job, None, None)
    assert sys.path[-1] == str(beside.parent)
