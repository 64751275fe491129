"""`barrage compare` as a user and a CI job meet it: tables, exit codes, one line for what cannot be compared."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.storage.urls import at
from tests.support.stores import planted, synthetic

A, B = "resnet50-bart2-a", "resnet50-bart2-b"
IMAGES = 200
LABELS = [i % 4 for i in range(IMAGES)]


def rights(right):
    """The right draws of images, clean always, attacked in the first `right` of them."""
    return [(4, 4)] * right + [(4, 0)] * (IMAGES - right)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return stores: of the same cells a and b; in `new`, b has lost 40 of 100 right images."""
    folder = tmp_path_factory.mktemp("stores")
    planted.store(folder / "old", {"a": rights(100), "b": rights(100)}, labels=LABELS)
    planted.store(folder / "new", {"a": rights(100), "b": rights(60)}, labels=LABELS)
    return folder


@pytest.fixture
def old(made):
    return str(made / "old")


@pytest.fixture
def new(made):
    return str(made / "new")


def test_stores_are_compared_cell_by_cell(barrage, old, new):
    code, out, _ = barrage("compare", old, new, "--markdown")
    assert code == 0 and A in out and B in out and "+20.0" in out
    code, out, _ = barrage("compare", old, new, "--cell", B)
    assert code == 0 and "images that changed sides" in out and "and 30 more" in out
    out = barrage("compare", old, new, "--cell", B, "--rule", "vote", "--lines", "100")[1]
    assert "McNemar" in out and all(f"i{i} " in out for i in range(60, 100))


@pytest.mark.parametrize(
    ("sides", "options", "code", "said"),
    [
        ((f"old::{B}", f"new::{B}"), ["--fail-if-worse", "2"], 1, "worse by more than 2 points as a defense: by 20.0 ["),
        ((f"old::{B}", f"new::{B}"), ["--fail-if-worse", "50"], 0, "not worse by more than 50 points"),
        ((f"old::{B}", f"new::{B}"), ["--fail-if-worse", "20"], 0, "undecided by more than 20 points"),
        ((f"old::{B}", f"new::{B}"), ["--fail-if-worse", "20", "--strict"], 3, "undecided"),
        ((f"new::{B}", f"old::{B}"), ["--fail-if-worse", "2", "--strict"], 0, "not worse by more than 2 points as a defense"),
        (
            (f"new::{B}", f"old::{B}"),
            ["--fail-if-worse", "2", "--for", "attack"],
            1,
            "worse by more than 2 points as an attack",
        ),
        ((f"old::{B}", f"new::{B}"), ["--fail-if-worse", "2", "--for", "attack"], 0, "not worse"),
        (("old", "new"), ["--fail-if-worse", "2", "--strict"], 1, f"::{B}: worse by more than 2"),
        (("old::resnet50-bart2-a", "new::resnet50-bart2-a"), ["--fail-if-worse", "5", "--strict"], 0, "not worse"),
    ],
)
def test_exit_codes_for_a_job(barrage, made, sides, options, code, said):
    for form in ([], ["--markdown"]):
        found, out, _ = barrage("compare", *(made / side for side in sides), *options, *form)
        assert found == code and said in out.replace("\\", ""), out
    found, out, _ = barrage("compare", *(made / side for side in sides), *options, "--json")
    verdicts = json.loads(out)["verdicts"]
    assert found == code and ("worse" in verdicts) == (code == 1) and ("undecided" in verdicts or code != 3)


def test_a_cell_that_the_second_store_lacks_is_not_passed_by_a_strict_job(barrage, old, tmp_path):
    planted.store(tmp_path / "less", {"a": rights(100)}, labels=LABELS)
    options = ["--fail-if-worse", "50"]
    for strict, code in (([], 0), (["--strict"], 3)):
        found, out, _ = barrage("compare", old, str(tmp_path / "less"), *options, *strict)
        assert found == code and f"::{B}: undecided, it has no rows" in out.replace("\n", ""), out
        assert barrage("compare", str(tmp_path / "less"), old, *options, *strict)[0] == 0, "cells may be added"
        assert barrage("compare", old, str(tmp_path / "less"), "--cell", A, *options, *strict)[0] == 0


def test_json_holds_everything(barrage, old, new):
    content = json.loads(barrage("compare", old, new, "--json")[1])
    one, two = content["comparisons"]
    assert one["first"]["cell"] == A and two["first"]["cell"] == B and content["verdicts"] == []
    assert two["table"] == [[60, 40], [0, 100]] and len(two["changed"]["first_only"]) == 40
    assert len(two["classes"]) == 4 and len(two["parts"]) == 25
    assert json.loads(barrage("compare", old, new, "--json", "--no-parts")[1])["comparisons"][0]["parts"] == []


def test_cells_of_one_store_and_what_is_left_out(barrage, old, made, tmp_path):
    assert "+0.0" in barrage("compare", old, "--cell", A, "--cell", B)[1]
    alone = planted.store(tmp_path / "alone", {"b": rights(80), "c": rights(3)}, labels=LABELS)
    code, out, _ = barrage("compare", old, alone)
    assert code == 0
    for line in (f"{old} has the cell {A}, {alone} has", f"{alone} has the cell resnet50-bart2-c, {old} has no rows of it"):
        assert f"left out: {line}" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["old"], "alone is nothing to compare"),
        (["old", "nothing"], "holds no campaign.yaml"),
        (["old", f"new::{B}x"], f"holds no rows of the cell '{B}x'"),
        (["old", "new", "--rule", "best"], "rule 'best', top 1: expected one of single, vote"),
        (["old", "new", "--top", "2"], "top 2: expected"),
        (["old", "new", "--json", "--markdown"], "--json and --markdown: give one"),
        (["old", "new", "--strict"], "--strict says when --fail-if-worse fails"),
        (["old", "new", "--fail-if-worse", "nan"], "expected a margin of 0 to 100 percentage points"),
        (["old", "new", "--fail-if-worse", "101"], "101 points: expected a margin"),
        (["old", "new", "--fail-if-worse", "-1"], "-1 points: expected a margin"),
    ],
)
def test_what_cannot_be_compared_is_one_line(barrage, made, words, said):
    words = [made / word if word.startswith(("old", "new", "nothing")) else word for word in words]
    code, out, err = barrage("compare", *words)
    assert code == 2 and said in err and len(err.splitlines()) == 1 and out == "", err


def test_a_store_copied_in_part_is_one_line(barrage, old, new, tmp_path):
    shutil.copytree(new, tmp_path / "part")
    (tmp_path / "part" / "campaign.yaml").unlink()
    code, _, err = barrage("compare", old, tmp_path / "part")
    assert code == 2 and "copy the whole store" in err and len(err.splitlines()) == 1


def test_sealed_stores_say_the_same(barrage, old, new, tmp_path):
    before = barrage("compare", old, new, "--markdown")[1]
    shutil.copytree(old, tmp_path / "old")
    shutil.copytree(new, tmp_path / "new")
    assert barrage("seal", tmp_path / "old")[0] == 0
    after = barrage("compare", tmp_path / "old", tmp_path / "new", "--markdown")[1]
    assert after.replace(str(tmp_path).replace("_", "\\_"), "") == before.replace(str(old)[:-4].replace("_", "\\_"), "")


def test_stores_in_a_bucket(barrage, s3, old):
    for path in (path for path in Path(old).rglob("*") if path.is_file()):
        assert at(f"{s3.url}/old").create(str(path.relative_to(old)), path.read_bytes())
    code, out, _ = barrage("compare", old, f"{s3.url}/old::{B}", "--fail-if-worse", "5", "--no-parts", "--json")
    assert code == 0
    (found,) = json.loads(out)["comparisons"]
    assert found["second"]["store"] == f"{s3.url}/old" and found["table"] == [[100, 0], [0, 100]]


def test_hostile_names_colour_no_terminal(barrage, tmp_path):
    keys = ["\x1b[31mred", "[bold]x[/bold]", "‮evil", "x" * 100_000, *(f"i{i}" for i in range(4, IMAGES))]
    place = planted.store(tmp_path, {"a": rights(4), "b": rights(0)}, labels=LABELS, keys=keys)
    for form in ([], ["--markdown"]):
        code, out, _ = barrage("compare", place, "--cell", A, "--cell", B, *form)
        assert code == 0 and "\x1b" not in out and "‮" not in out and "\\x1b" in out.replace("\\\\", "\\")
        assert "bold" in out and max(map(len, out.splitlines())) < 400
    assert keys[3] in barrage("compare", place, "--cell", A, "--cell", B, "--json")[1]


def test_a_narrow_terminal_has_all_columns(barrage, tmp_path, monkeypatch):
    synthetic.store(tmp_path / "s", synthetic.campaign([2, 10], {"pgd": planted.PGD}), 60, 30)
    cells = [f"{tmp_path}/s::resnet50-bart{k}-pgd" for k in (2, 10)]
    out = barrage("compare", *cells, "--no-parts")[1]
    assert "…" not in out and "target" not in out and "defense.k" in out and max(map(len, out.splitlines())) < 200
    out = barrage("compare", f"{tmp_path}/s", "--cell", "resnet50-bart2-pgd", "--cell", "resnet50-bart10-pgd")[1]
    assert "resnet50-" in out and "bart10-pgd" in out
