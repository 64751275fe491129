"""A table holds its built-ins and what others add; what others break, breaks nothing else."""

import importlib
import os
import sys
import warnings

import pytest
import torch

from barrage_plugins import PluginError, Registry, Source, UnknownName, allow, builtin_only, modules, registry
from tests.support.source.plugins import installed

NUMBERS = {"one": 1, "two": 2}


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """Start without packages or modules of others, in a process that may import from `tmp_path`."""
    registry._installed.cache_clear()
    monkeypatch.delenv(modules.ALLOW, raising=False)
    monkeypatch.setattr(modules, "_allowed", set())
    monkeypatch.setattr(modules, "_failures", {})
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]
    registry._installed.cache_clear()


@pytest.fixture
def table():
    return Registry("number", "numbers", NUMBERS, "an int", lambda name, thing: isinstance(thing, int))


def test_built_ins_come_in_their_order(table):
    assert dict(table) == NUMBERS and list(table) == ["one", "two"] and len(table) == 2 and "one" in table
    assert str(table.source("one")) == "barrage itself" and table.working() == NUMBERS


def test_an_unknown_name_is_refused_with_the_nearest_one(table):
    with pytest.raises(UnknownName, match=r"^unknown number 'tow'; did you mean 'two'\?$"):
        table["tow"]
    with pytest.raises(UnknownName, match="^unknown number '#'; known are one, two$"):
        table["#"]
    assert "tow" not in table and table.get("tow") is None


def test_an_installed_package_adds_by_entry_points_after_the_built_ins_by_name(table, tmp_path):
    points = {"barrage.numbers": {"zero": "strange:ZERO", "four": "strange:FOUR"}, "barrage.letters": {"a": "strange:A"}}
    installed(tmp_path, {"strange": "ZERO, FOUR = 0, 4"}, points)
    assert list(table) == ["one", "two", "four", "zero"] and "four" in table
    assert "strange" not in sys.modules, "listing names imports nothing"
    assert table["four"] == 4 and table.working() == NUMBERS | {"four": 4, "zero": 0}
    assert table.source("four") == Source("strange-kinds", "2.1") and str(table.source("four")) == "strange-kinds 2.1"
    with builtin_only():
        assert dict(table) == NUMBERS and "four" not in table
    assert "four" in table


def test_what_a_package_breaks_is_named_and_the_rest_goes_on(table, tmp_path):
    points = {"four": "strange:FOUR", "five": "broken:FIVE", "six": "strange:SIX", "seven": "strange:SEVEN"}
    sources = {"strange": "FOUR = 4\nSEVEN = 'seven'", "broken": "raise RuntimeError('no\\nlicence')"}
    installed(tmp_path, sources, {"barrage.numbers": points})
    message = (
        r"^number 'five' of strange-kinds 2.1 cannot be imported \(RuntimeError: no licence\): repair strange-kinds, or un"
    )
    with pytest.raises(PluginError, match=message):
        table["five"]
    with pytest.raises(PluginError, match=r"number 'six' of strange-kinds 2.1 cannot be imported \(AttributeError: .*SIX"):
        table["six"]
    with pytest.raises(
        PluginError, match="number 'seven' of strange-kinds 2.1 is 'seven', expected an int: correct strange-kinds"
    ):
        table["seven"]
    assert table["one"] == 1 and table["four"] == 4
    with pytest.warns(UserWarning) as said:
        assert table.working() == NUMBERS | {"four": 4}
    assert len(said) == 3


@pytest.mark.parametrize("version", [0, "2", None])
def test_a_version_that_is_no_whole_number_from_1_is_refused(tmp_path, version):
    installed(tmp_path, {"strange": f"class A:\n    version = {version!r}"}, {"barrage.letters": {"a": "strange:A"}})
    letters = Registry("letter", "letters", {}, "a class", lambda name, thing: isinstance(thing, type))
    with pytest.raises(PluginError, match=r"letter 'a' of strange-kinds 2.1 is .*strange.A"):
        letters["a"]


def test_a_name_that_two_sources_add_is_refused_and_names_both(table, tmp_path):
    installed(tmp_path, {"strange": "ONE, FOUR = 1, 4"}, {"barrage.numbers": {"one": "strange:ONE", "four": "strange:FOUR"}})
    installed(tmp_path, {}, {"barrage.numbers": {"four": "strange:FOUR"}}, name="other-kinds", version="3")
    with pytest.raises(PluginError, match="number 'one' is defined twice, by barrage itself and by strange-kinds 2.1"):
        table["one"]
    with pytest.raises(
        PluginError, match="'four' is defined twice, by (strange-kinds 2.1 and by other-kinds 3|other-kinds 3 and)"
    ):
        table["four"]
    assert table["two"] == 2


def test_a_module_adds_only_once_it_is_allowed(table, tmp_path):
    (tmp_path / "mine.py").write_text("BARRAGE_PLUGINS = {'numbers': {'nine': 9, 'two': 22}}")
    with pytest.raises(UnknownName, match="unknown number 'nine'"):
        table["nine"]
    assert "mine" not in sys.modules
    importlib.import_module("mine")
    assert "nine" not in table, "that something imported it allows nothing"
    allow(["mine"])
    assert table["nine"] == 9 and str(table.source("nine")) == "module mine" and list(table) == ["one", "two", "nine"]
    with pytest.raises(PluginError, match="number 'two' is defined twice, by barrage itself and by module mine"):
        table["two"]


def test_an_allowed_module_that_fails_is_named_where_a_name_is_missing(table, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import nothing_of_this_name")
    monkeypatch.setenv(modules.ALLOW, "mine, json")
    assert table["one"] == 1
    with pytest.raises(
        UnknownName, match="unknown number 'nine'.*; the allowed module mine failed: ModuleNotFoundError: No mod"
    ):
        table["nine"]


def test_what_an_allowed_module_sets_for_the_process_is_undone(table, tmp_path):
    """Scripts silence warnings, switch gradients off, go to another folder, and read the options of their own command."""
    lines = [
        "import os, warnings, torch", "warnings.filterwarnings('ignore')", "torch.set_grad_enabled(False)",
        "torch.set_default_dtype(torch.float64)", "os.chdir('/')", "BARRAGE_PLUGINS = {'numbers': {'nine': 9}}",
    ]  # fmt: skip
    (tmp_path / "script.py").write_text("\n".join(lines))
    (tmp_path / "ends.py").write_text("import argparse; argparse.ArgumentParser(add_help=False).error('no data')")
    filters, folder = list(warnings.filters), os.getcwd()
    allow(["script", "ends"])
    assert table["nine"] == 9 and "SystemExit" in modules.failures()["ends"]
    assert (list(warnings.filters), os.getcwd()) == (filters, folder)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


def test_permission_is_for_a_module_and_what_is_inside_it():
    allow(["a.b"])
    found = [name for name in ("a", "a.b", "a.b.c", "a.bc", "b") if modules.permits(name)]
    assert found == ["a.b", "a.b.c"]
