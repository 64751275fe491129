"""Comparisons of cells against stores whose flips are planted, the table of `barrage table`, and rows counted by hand."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline import analysis
from pipeline.analysis.comparison.paired import of_shares
from pipeline.analysis.errors import draw_parts
from pipeline.campaigns.job import Job, opened
from pipeline.config.definitions import DRAWS
from pipeline.errors import BadInput
from pipeline.scoring import summaries
from pipeline.store.rows import batches
from tests.support.stores import planted, synthetic

BEFORE = [(4, 4), (4, 4), (4, 0), (4, 0), (4, 3), (0, 0), None, (4, 1)]
AFTER = [(4, 4), (4, 0), (4, 4), (4, 0), (4, 0), (0, 0), (4, 4), (3, 2)]
A, B = "resnet50-bart2-a", "resnet50-bart2-b"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted.store(tmp_path_factory.mktemp("planted"), {"a": BEFORE, "b": AFTER}, labels=[0, 0, 0, 1, 1, 1, 1, 1])


@pytest.fixture(scope="module")
def found(store):
    return analysis.comparison(f"{store}::{A}", f"{store}::{B}")


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    """Return a store of 60 images with three cells, random to their accuracies."""
    folder = tmp_path_factory.mktemp("random")
    attacks = {name: {"eps": eps, "steps": 40, "eot_draws": 4} for name, eps in (("pgd", "8/255"), ("weak", "2/255"))}
    aimed = {"aimed": attacks["pgd"] | {"goal": "random_target"}, "other": attacks["weak"] | {"goal": "random_target"}}
    synthetic.store(folder, synthetic.campaign([0, 2, 10], attacks | aimed), 60, 30, 2)
    return str(folder)


def test_planted_flips_are_found(found):
    assert found.adv.images == 7, "the image that failed in one is in neither"
    assert found.adv.table == ((1, 2), (1, 3))
    assert (found.adv.first_only, found.adv.second_only) == (2, 2), "i7 is more right in the second, wrong in both"
    changed = found.changed.set_index("image_key")
    assert changed["right"].to_dict() == {"i1": "first_only", "i2": "second_only", "i4": "first_only"}
    assert list(changed.index) == ["i1", "i2", "i4"], "the greatest difference first"
    assert changed[["first", "second"]].to_numpy().tolist() == [[1, 0], [0, 1], [0.75, 0]]
    assert found.adv.difference == pytest.approx((12 - 10) / 28)
    assert found.found["clean"].table == ((6, 0), (0, 1)) and found.found["clean"].difference == pytest.approx(1 / 28)
    assert "target_hit" not in found.found


def test_the_cost_is_that_of_the_images_compared(found):
    mean = np.mean([100, 101, 102, 103, 104, 105, 107])
    assert found.costs[0] == pytest.approx({"draw_gradients": mean, "forwards": 8, "seconds": 1})


def test_classes_are_compared_one_by_one(found):
    by_label = found.classes.set_index("label")
    assert by_label["images"].to_dict() == {0: 3, 1: 4}
    for label, first, second in ((0, [1, 1, 0], [1, 0, 1]), (1, [0, 0.75, 0, 0.25], [0, 0, 0, 0.5])):
        by_hand = of_shares(first, second)
        for name in ("difference", "low", "high", "p_value"):
            assert by_label[name][label] == pytest.approx(getattr(by_hand, name))


@pytest.mark.parametrize("rule", ["single", "vote", "mean", "persistent"])
@pytest.mark.parametrize("top", [1, 5])
def test_its_rates_are_those_of_the_table(random, rule, top):
    lines = {line.cell: line for line in summaries.lines(batches(random), [rule])}
    cells = ["resnet50-bart2-aimed", "resnet50-bart10-aimed"]
    said = analysis.comparison(f"{random}::{cells[0]}", f"{random}::{cells[1]}", rule, top)
    for side, line in zip(("first", "second"), (lines[cell] for cell in cells), strict=True):
        for value, prefix in (("adv", "adv"), ("clean", "clean")):
            told = getattr(line, f"{prefix}_top{top}")
            assert said.rate(side, value) == pytest.approx((told.value, told.low, told.high))
        assert said.rate(side, "target_hit")[0] == pytest.approx(line.target_hits.value)
        cost = said.costs[side == "second"]
        assert cost["draw_gradients"] * line.images == pytest.approx(line.draw_gradients)
        assert cost["seconds"] * line.images == pytest.approx(line.seconds)


def test_it_says_what_compare_says_of_frames(random):
    cells = ["resnet50-bart2-pgd", "resnet50-bart2-weak"]
    scores = analysis.scores(random, "vote")
    first, second = (scores[scores["cell"] == cell] for cell in cells)
    said = analysis.comparison(f"{random}::{cells[0]}", f"{random}::{cells[1]}", "vote")
    for value in ("adv", "clean"):
        assert said.found[value] == analysis.compare(first, second, value)


def test_sides_may_be_exchanged(random):
    cells = [f"{random}::resnet50-bart2-pgd", f"{random}::resnet50-bart10-weak"]
    one, two = analysis.comparison(*cells), analysis.comparison(*reversed(cells))
    for frames in ((one.classes, two.classes), (one.parts, two.parts)):
        a, b = (frame.set_index(frame.columns[0]).sort_index() for frame in frames)
        assert list(a.index) == list(b.index) and len(a) > 20
        assert np.allclose(a[["difference", "low", "high"]], -b[["difference", "high", "low"]])
        assert np.allclose(a[["first", "second", "p_holm"]], b[["second", "first", "p_holm"]])
    names = ["shard", "image_key"]
    assert one.changed[names].equals(two.changed[names]) and len(one.changed)
    assert (one.changed["right"] == "first_only").equals(two.changed["right"] == "second_only")
    assert [(s.name, s.first, s.second) for s in one.settings] == [(s.name, s.second, s.first) for s in two.settings]


def test_parts_are_counted_draw_by_draw(random):
    """From the draws that the keys give and the lists of classes, one by one."""
    cells = ["resnet50-bart2-pgd", "resnet50-bart10-pgd"]
    rows = analysis.results(random)
    rows = rows[rows["status"] == "ok"].astype({"cell": str, "shard": str, "image_key": str})
    shares = []
    for cell in cells:
        mine = rows[rows["cell"] == cell].sort_values("image_key")
        has = draw_parts.met(opened(random).cells[cell], pa.Table.from_pandas(mine[["shard", "image_key"]]))
        place = opened(random).cells[cell].defense.build().choices.index("jpeg")
        found = []
        for image, (label, draws) in enumerate(zip(mine["label"], mine["adv_top5"], strict=True)):
            own = [draw[0] == label for draw, there in zip(draws, has[image, :, place], strict=True) if there]
            found.append(np.mean(own) if own else np.nan)
        shares.append(np.array(found))
    known = ~np.isnan(shares[0]) & ~np.isnan(shares[1])
    expected = of_shares(shares[0][known], shares[1][known])
    line = analysis.comparison(*(f"{random}::{cell}" for cell in cells)).parts.set_index("part").loc["jpeg"]
    assert 20 < line["images"] == expected.images
    assert line[["first", "second", "difference", "low", "high", "p_value"]].to_list() == pytest.approx(
        [expected.first, expected.second, expected.difference, expected.low, expected.high, expected.p_value]
    )


def test_defenses_without_parts_in_common_have_no_lines(random):
    assert analysis.comparison(f"{random}::resnet50-none-pgd", f"{random}::resnet50-bart2-pgd").parts.empty


def test_the_settings_that_differ_are_listed_and_those_that_spoil_it_warned_of(random):
    said = analysis.comparison(f"{random}::resnet50-bart2-pgd", f"{random}::resnet50-bart10-other")
    names = {setting.name: (setting.first, setting.second) for setting in said.settings}
    assert names["defense.k"] == (2, 10) and names["attack.goal"] == ("untargeted", "random_target")
    assert names["attack.eps"] == pytest.approx((8 / 255, 2 / 255)) and len(names) == 3
    text = "\n".join(said.warnings)
    assert "eps is 0.0313725 in the first, 0.00784314 in the second" in text
    assert "goal is untargeted in the first, random_target in the second" in text
    assert "defense and attack differ: nothing tells which of them makes the difference" in text
    assert "images that could not be attacked, and are left out of both: 2" in text
    same = analysis.comparison(f"{random}::resnet50-bart2-pgd", f"{random}::resnet50-bart2-pgd")
    assert same.settings == [] and same.adv.difference == 0 and same.adv.p_value == 1


def test_draws_devices_and_images_of_two_stores_are_told(tmp_path):
    one = planted.store(tmp_path / "one", {"a": BEFORE})
    two = planted.store(tmp_path / "two", {"a": [(2, 1)] * 8 + [(2, 2)] * 30}, evaluation_draws=2)
    said = analysis.comparison(one, two, "vote")
    assert said.adv.images == 7
    text = "\n".join(said.warnings)
    assert "judged by 4 draws, the second by 2: under the rule vote that alone makes a difference" in text
    assert f"only 7 of the 38 images of {two}::{A} are compared" in text
    assert "judged by" not in "\n".join(analysis.comparison(one, two).warnings)


def test_half_done_and_stopped_cells_are_named(tmp_path, monkeypatch):
    content = synthetic.campaign([2], {"pgd": planted.PGD})
    synthetic.store(tmp_path / "half", content, 60, 20, units=1)
    synthetic.store(tmp_path / "whole", content, 60, 20)
    said = analysis.comparison(str(tmp_path / "half"), str(tmp_path / "whole"))
    assert said.adv.images == 20
    assert any("is not finished: 20 of 60 images" in line for line in said.warnings)
    monkeypatch.setattr(Job, "ended_by", lambda job, cell: job.store.endswith("half") or None)
    said = analysis.comparison(str(tmp_path / "half"), str(tmp_path / "whole"))
    assert [line for line in said.warnings if "stop rule" in line] == [
        f"{tmp_path}/half::resnet50-bart2-pgd was ended by its stop rule after 20 of 60 images"
    ]


def test_versions_of_definitions_are_told_apart(tmp_path, monkeypatch):
    one = planted.store(tmp_path / "one", {"a": BEFORE})
    monkeypatch.setattr("pipeline.data.pictures.VERSION", 99)
    rule = DRAWS.builtin["evaluation"]
    monkeypatch.setitem(DRAWS.builtin, "evaluation", rule._replace(version=7))
    two = planted.store(tmp_path / "two", {"a": BEFORE})
    said = analysis.comparison(one, two)
    names = {setting.name: (setting.first, setting.second) for setting in said.settings}
    assert names["version of draws evaluation"] == (rule.version, 7) and names["decoding"][1] == 99
    assert any(line.startswith("version of draws evaluation: 2 in the first, 7") for line in said.warnings)
    assert said.parts.empty, "the draws of the first cannot be made again"


def test_everything_is_plain_values(random, found):
    said = analysis.comparison(f"{random}::resnet50-bart2-aimed", f"{random}::resnet50-bart10-other")
    for one in (said, found):
        content = json.loads(json.dumps(one.as_dict(), allow_nan=False))
        assert content["problem"] is None and content["images"] == one.adv.images
        assert content["table"] == [list(row) for row in one.adv.table]
        assert content["first"]["rate"] == pytest.approx(one.adv.first) and content["second"]["cost"] == one.costs[1]
        assert (content["difference"], content["low"], content["high"]) == (one.adv.difference, one.adv.low, one.adv.high)
        fields = dict(zip(("both", "first_only", "second_only", "neither"), np.ravel(one.adv.table), strict=True))
        assert {field: len(names) for field, names in content["changed"].items()} == fields
        assert len(content["classes"]) == len(one.classes) and len(content["parts"]) == len(one.parts)
    assert found.as_dict(1)["changed"]["neither"] == [["val-000000", "i3"]]
    assert found.as_dict(with_parts=False)["parts"] == []


def test_the_frame_has_a_line_for_each_value(random):
    said = analysis.comparison(f"{random}::resnet50-bart2-aimed", f"{random}::resnet50-bart10-aimed")
    frame = said.frame().set_index("value")
    assert list(frame.index) == ["adv", "clean", "target_hit"]
    assert (frame["first"] - frame["second"]).to_list() == pytest.approx(frame["difference"].to_list())


def test_several_are_a_line_each_and_corrected_together(random):
    cells = ["resnet50-bart2-pgd", "resnet50-bart10-pgd", "resnet50-none-pgd"]
    several = analysis.comparisons(random, cells=cells)
    frame = several.frame()
    assert frame["second_cell"].tolist() == cells[1:] and set(frame["first_cell"]) == {cells[0]}
    assert (frame["p_holm"] >= frame["p_value"]).all() and frame["p_holm"].min() == 2 * frame["p_value"].min()
    text = str(several)
    assert all(cell in text for cell in cells) and f"store: {random}" in text
    with pytest.raises(BadInput, match="have 12 cells in common .* name one, as STORE::CELL"):
        analysis.comparison(random, random)


@pytest.mark.parametrize(("rule", "top"), [("best", 1), ("single", 3)])
def test_a_rule_that_is_none_is_refused(random, rule, top):
    with pytest.raises(BadInput, match=f"rule '{rule}', top {top}: expected one of single, vote, mean, persistent"):
        analysis.comparison(f"{random}::resnet50-none-pgd", f"{random}::resnet50-bart2-pgd", rule, top)


def test_texts_of_data_are_one_line_and_short(tmp_path):
    keys = ["\x1b[31mred", "a|b`<script>", "long" * 5000, *(f"i{i}" for i in range(3, 8))]
    rights = {"a": [(4, 4)] * 8, "b": [(4, 0)] * 8}
    names = ["<b>|cat", "dog\n", *(f"c{i}" for i in range(8))]
    place = planted.store(tmp_path, rights, keys=keys, data={"shards": "none/val-000000.tar", "classes": names})
    said = analysis.comparison(f"{place}::{A}", f"{place}::{B}")
    assert set(said.changed["image_key"]) == set(keys), "the frame has them as they are"
    for text in (str(said), said.markdown()):
        assert "\x1b" not in text and "longlong" in text and max(map(len, text.splitlines())) < 400
    assert "<script>" not in said.markdown() and "\\<b\\>\\|cat" in said.markdown()
    assert said.as_dict()["classes"][0]["name"] == "<b>|cat"
    assert isinstance(said.frame(), pd.DataFrame)
