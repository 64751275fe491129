"""What the board refuses: one store for each reason, all else in order."""

import json
import re

import pyarrow as pa
import pytest

from pipeline.board import Entry, gather, groups, refusals
from pipeline.campaigns import definition_versions
from pipeline.campaigns.job import opened
from pipeline.errors import BadInput
from tests.support.stores import boarded

STANDARD, PGD = boarded.ATTACKS["pgd-standard"], boarded.ATTACKS["pgd"]


def attacks(**standard):
    """The campaign with other settings of its standard attack."""
    return boarded.campaign(attacks={"pgd-standard": STANDARD | standard})


def column(name, value):
    """Rows with another value of one column; a function gets the unit."""

    def changed(table, cell, unit):
        place = table.schema.get_field_index(name)
        said = value(unit) if callable(value) else value
        return table.set_column(place, table.schema.field(place), pa.array([said] * len(table), table.schema.field(place).type))

    return changed


STORES = {
    "frozen": ({"content": boarded.campaign(defenses={"bart5": {"k": 5, "frozen": True}})}, "bart5 is frozen.*no defense"),
    "planted": ({"content": boarded.campaign(defenses={"bart5": {"k": 5, "planted": True}})}, "bart5 is planted"),
    "one draw": ({"content": boarded.campaign(evaluation_draws=1)}, "1 evaluation draws judged a random.*at least 20"),
    "few draws": ({"content": boarded.campaign(evaluation_draws=19)}, "19 evaluation draws"),
    "another attack": (
        {"content": boarded.campaign(attacks={"pgd": PGD})},
        r"found resnet50-bart5-pgd \(pgd\): run `standard: \{eps: 0.0313725, budget: 200\}`",
    ),
    "two standard attacks": (
        {"content": boarded.campaign(attacks={"pgd-standard": STANDARD, "pgd-more": STANDARD | {"budget": 400}})},
        "expected one cell of the standard attack, found .*pgd-standard.*pgd-more",
    ),
    "small budget": ({"content": attacks(budget=199)}, "a budget of 199 .*at least 200"),
    "targeted": ({"content": attacks(goal="random_target")}, "the goal random_target"),
    "first break": ({"content": attacks(mode="first_break")}, "changes mode"),
    "low frequencies": ({"content": attacks(frequencies=0.5)}, "changes frequencies"),
    "half done": ({"units": 2, "images": 300}, "200 of 300 images are done: run the campaign to its end"),
    "few images": ({"images": 199, "unit_images": 199}, "199 images: expected at least 200"),
    "failed images": ({"images": 220, "unit_images": 220, "failed": 3}, "3 images failed, more than 1 %"),
    "blind": ({"rows": column("zero_gradients", 1000)}, "% of images had no gradient"),
    "moved": ({"rows": column("given_distance", 0.5)}, "200 examples were outside their ball"),
    "mixed commits": (
        {"rows": column("commit", lambda unit: f"{unit.start:040d}")},
        r"several versions \(commit: 0{40} and 0{37}100\)",
    ),
    "mixed libraries": (
        {"rows": column("versions", lambda unit: json.dumps({"torch": str(unit.start)}))},
        r"several versions \(libraries: .*torch",
    ),
    "changed files": ({"commit": "c" * 40 + "+"}, "commit cccccccccccc with changed files"),
    "no commit": ({"commit": "unknown"}, "name no commit"),
    "unknown weights": (
        {"content": boarded.campaign(models={"resnet50": {"architecture": "torchvision:resnet50", "weights": "DEFAULT"}})},
        "model resnet50 has no hash of its weights",
    ),
    "skipped images": ({"content": boarded.campaign(skip_misclassified="single")}, "skip_misclassified single"),
}


@pytest.mark.parametrize("reason", STORES)
def test_each_reason_refuses_alone(reason, board_store, refused):
    options, text = STORES[reason]
    found = refused(board_store(**options))
    assert found and all(re.search(text, line) and "\n" not in line for line in found), found


def test_a_store_in_order_is_not_refused(board_store, refused):
    assert refused(board_store()) == []
    assert refused(board_store(name="more", images=202, unit_images=202, failed=2)) == [], "1 % may fail"


@pytest.mark.parametrize(
    ("states", "text"),
    [({"unbounded": False}, "1 checks failed"), ({"planted weakness": False, "controls": False}, "2 checks failed"),
     ({"momentum": None}, "1 checks missing"), ({"gradients": None}, "1 checks missing")],
)  # fmt: skip
def test_checks_must_be_there_and_pass(states, text, board_store, refused, tmp_path):
    job = board_store()
    cell = job.cells["resnet50-bart5-pgd-standard"]
    boarded.checked(tmp_path / "again", cell, **states)
    written = (tmp_path / "again" / "check" / cell.name / "check.json").read_bytes()
    (tmp_path / "store" / "check" / cell.name / "check.json").write_bytes(written)
    (line,) = refused(job)
    assert text in line and all(name in line for name in states)


def test_a_store_without_checks_or_with_those_of_another_cell_is_refused(board_store, refused, tmp_path):
    job = board_store()
    path = tmp_path / "store" / "check" / "resnet50-bart5-pgd-standard" / "check.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"identity": "0" * 16}))
    assert "was not checked: run barrage check" in refused(job)[0]
    path.unlink()
    assert "was not checked: run barrage check" in refused(job)[0]


def test_a_check_of_few_images_is_refused(board_store, refused, tmp_path):
    job = board_store()
    cell = job.cells["resnet50-bart5-pgd-standard"]
    boarded.checked(tmp_path / "few", cell, images=7)
    place = tmp_path / "store" / "check" / cell.name / "campaign.yaml"
    place.write_bytes((tmp_path / "few" / "check" / cell.name / "campaign.yaml").read_bytes())
    (line,) = refused(job)
    assert "checked on 7 images" in line and "--images 8" in line


def test_definitions_that_changed_since_are_refused(board_store, entry_of, monkeypatch):
    job = board_store()
    monkeypatch.setattr(definition_versions, "outdated", lambda campaign, url: {"resnet50-bart5-pgd": "clahe has version 2"})
    with pytest.raises(BadInput, match="clahe has version 2.*cannot be made again"):
        entry_of(job)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"defense": {"settings": {"kind": "compose", "parts": [{"kind": "gaussian"}, {"frozen": True}]}}}, "is frozen"),
        ({"attacks": [{}, {"settings": {"kind": "examples"}}]}, "its examples come from elsewhere"),
        ({"attacks": [{}, {"settings": {"kind": "certify"}}]}, "a certificate is no attack"),
        ({"attacks": [{"images": 400, "planned": 400}, {}]}, "another number of images"),
        ({"attacks": [{"rules": {"vote": {"attacked": {"value": 0.5}}}}, {}]}, "not that of its images"),
        ({"attacks": [{"rules": {"single": {"clean": {"high": 0.99}}}}, {}]}, "not that of its images"),
        ({"attacks": [{"settings": {"budget": "200"}}, {}]}, "a budget of 0 "),
        ({"attacks": [{"rules": {"single": {"clean": {"shares": {"1/20": 10**12}}}}}, {}]}, "another number of images"),
        ({"worst": {"apart": 0.0}}, "not in their order"),
        ({"worst": {"least": {"low": 0.0}}}, "not that of its images"),
    ],
)
def test_a_file_is_held_to_the_same_rules(change, text, board_store, entry_of):
    content = entry_of(board_store()).model_dump(mode="json")
    found = list(refusals(Entry.model_validate(_merged(content, change))))
    assert any(text in line for line in found), found


def _merged(content, change):
    """Content with some values changed, at any depth; lists item by item."""
    if isinstance(change, list) and isinstance(content, list):
        return [_merged(old, new) for old, new in zip(content, change, strict=True)]
    if isinstance(change, dict) and isinstance(content, dict):
        return content | {name: _merged(content.get(name), value) for name, value in change.items()}
    return change


def test_a_cell_of_no_store_is_named(board_store):
    job = board_store()
    with pytest.raises(BadInput, match="--cell x: store .* has no such cell; expected one of resnet50-bart5-pgd-standard"):
        groups(job, ["x"])
    (cells,) = groups(job, ["resnet50-bart5-pgd-standard"])
    entry = gather(job, cells, "ImageNet", boarded.SUBMISSION)
    assert entry.worst is None and len(entry.attacks) == 1 and not list(refusals(entry))


def test_a_store_of_a_real_run_is_gathered_whole(finished):
    """Eight images of a tiny network behind two transforms: gathered with all its figures, and refused for what it lacks."""
    job = opened(str(finished()))
    for cells in groups(job, None):
        entry = gather(job, cells, "tiny", boarded.SUBMISSION)
        (attack,) = entry.attacks
        assert attack.images == attack.rules["single"].clean.images == 8 and entry.checks.images == 0
        assert set(entry.checks.states.values()) == {"missing"} and entry.origins[0].rows == 8
        found = list(refusals(entry))
        assert entry.model.weights_sha256 == job.campaign.models["net"].contents_sha256, "of what its function returned"
        reasons = ["expected one cell of the standard", "8 images: expected at least 200"]
        reasons += ["4 evaluation draws judged"] * (cells[0].defense_name == "bart2")
        assert all(any(reason in line for line in found) for reason in reasons)
        assert not [line for line in found if "is not that of its images" in line or "another number" in line]
