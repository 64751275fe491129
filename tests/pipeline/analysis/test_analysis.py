"""The analysis API against frames by hand, closed forms, and stores whose rows are known."""

import itertools
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bart import Barrage, draw_keys
from bart.defenses.barrage import described
from pipeline import analysis
from pipeline.analysis import frames
from pipeline.analysis.errors import draw_parts
from pipeline.campaigns import image_keys
from pipeline.campaigns.job import opened
from pipeline.errors import BadInput
from pipeline.planning.units import Cut
from pipeline.scoring import summaries
from pipeline.scoring.intervals import Rate, rate
from pipeline.store import schema
from pipeline.store.rows import batches
from tests.support.stores import handmade, synthetic

IMAGES, FAILED = 60, 2
ATTACKS = {
    "pgd": {"eps": "8/255", "steps": 40, "eot_draws": 4},
    "pgd-eps2": {"eps": "2/255", "steps": 40, "eot_draws": 4},
    "random": {"eps": "8/255", "steps": 40, "eot_draws": 4, "goal": "random_target"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    synthetic.store(folder, synthetic.campaign([0, 2, 10], ATTACKS), IMAGES, 30, FAILED)
    return str(folder)


@pytest.fixture(scope="module")
def found(store):
    return analysis.scores(store)


def frame(adv, cell="a", attack="pgd", **columns):
    """Scores of images `i0`, `i1`, ... by hand."""
    n = len(adv)
    content = {"store": "s", "cell": cell, "image_key": [f"i{i}" for i in range(n)], "label": range(n), "model": "m",
               "defense": "d", "k": 1, "attack": attack, "norm": "linf", "eps": 0.1, "steps": 4, "eot_draws": 1,
               "policy": "combo", "mode": "strongest", "evaluation_draws": 4, "clean": 1.0, "adv": adv, "target_hit": np.nan,
               "grad_evals": 8, "seconds": 3.6}  # fmt: skip
    return pd.DataFrame(content | columns)


@pytest.mark.parametrize("rule", ["single", "vote", "mean", "persistent"])
def test_accuracy_of_cells_is_that_of_the_table(store, rule):
    lines = {line.cell: line for line in summaries.lines(batches(store), [rule])}
    for row in analysis.accuracy(analysis.scores(store, rule)).to_dict("records"):
        line = lines.pop(row["cell"])
        assert (row["images"], row["failed"]) == (line.images, line.failed) == (IMAGES - FAILED, FAILED)
        for name, told in (("clean", line.clean_top1), ("adv", line.adv_top1)):
            assert [row[name], row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx([told.value, told.low, told.high])
        assert row["draw_gradients"] * row["images"] == pytest.approx(line.draw_gradients)
        assert row["hours"] == pytest.approx(line.seconds / 3600)
    assert not lines


def test_scores_are_shares_of_the_counts_of_rows(store, found):
    plain = analysis.results(store)
    some = plain.merge(found, on=["cell", "image_key"], suffixes=("", "_"))
    good = some[some["status"] == "ok"]
    assert len(good) == 9 * (IMAGES - FAILED) and some.loc[some["status"] != "ok", ["clean", "adv"]].isna().all(None)
    assert np.allclose(good["adv"], good["adv_correct"] / good["evaluation_draws_"])
    hits = good["target_hits"].notna()
    assert hits.sum() == 3 * (IMAGES - FAILED) and good.loc[~hits, "target_hit"].isna().all()
    assert np.allclose(good.loc[hits, "target_hit"], good.loc[hits, "target_hits"] / good.loc[hits, "evaluation_draws"])


def test_only_the_columns_and_cells_asked_for_are_read(store):
    some = analysis.results(store, ["image_key", "adv_correct"], ["resnet50-bart2-pgd"])
    assert list(some) == ["store", "image_key", "adv_correct"] and len(some) == IMAGES
    with pytest.raises(BadInput, match="holds no rows of the cell 'nope': it has .*resnet50-none-pgd"):
        analysis.results(store, cells=["nope"])


def test_several_stores_are_told_apart(store, found, tmp_path):
    synthetic.store(tmp_path / "b", synthetic.campaign([2], ATTACKS), 10, 5)
    both = analysis.accuracy(analysis.scores([store, str(tmp_path / "b")]))
    assert both.groupby("store").size().to_dict() == {store: 9, str(tmp_path / "b"): 3}
    assert both["images"].sum() == 9 * (IMAGES - FAILED) + 30


def test_cells_are_in_the_order_of_their_transforms(found):
    ks = [int(found[found["cell"] == cell]["k"].iloc[0]) for cell in found["cell"].cat.categories]
    assert ks == sorted(ks) and set(ks) == {0, 2, 10}


def test_a_group_of_several_cells_counts_an_image_once():
    both = pd.concat([frame([0, 1, 1]), frame([0, 0, 1], "b", "fgsm")])
    (line,) = analysis.accuracy(both, ["model"]).to_dict("records")
    assert line["images"] == 3 and line["adv"] == pytest.approx(0.5)
    (alone,) = analysis.accuracy(frame([0, 1, 1, 1])).to_dict("records")
    assert Rate(alone["adv"], alone["adv_low"], alone["adv_high"], alone["images"]) == rate([0, 1, 1, 1])


def test_a_comparison_is_paired_and_exact():
    first, second = frame([1, 1, 1, 1, 1, 0, 0, 1.0]), frame([0, 0, 0, 0, 0, 1, 0, 1.0], "b")
    said = analysis.compare(first, second.iloc[::-1])
    assert (said.images, said.first_only, said.second_only) == (8, 5, 1)
    assert said.p_value == pytest.approx(2 * (math.comb(6, 0) + math.comb(6, 1)) / 2**6)  # McNemar's, exact
    assert (said.first, said.second, said.difference) == pytest.approx((6 / 8, 2 / 8, 0.5))
    assert said == analysis.compare(first.iloc[::-1], second), "the order of rows decides nothing"
    missing = analysis.compare(first, second.assign(adv=[np.nan, 0, 0, 0, 0, 1, 0, 1]))
    assert missing.images == 7 and missing.first_only == 4
    with pytest.raises(BadInput, match="first holds an image twice"):
        analysis.compare(pd.concat([first, second]), second)
    with pytest.raises(BadInput, match="no image in common"):
        analysis.compare(first, second.assign(image_key="other " + second["image_key"]))


def test_the_interval_of_many_differences_is_the_normal_one():
    random = np.random.default_rng(0)
    first, second = (frame(random.binomial(4, p, 4000) / 4) for p in (0.6, 0.5))
    difference = first["adv"] - second["adv"]
    half = 1.96 * difference.std() / math.sqrt(4000)
    said = analysis.compare(first, second)
    assert (said.low, said.high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=0.1 * half)


def test_common_draws_narrow_a_difference_by_the_closed_form():
    """Use draws that are right in 60 % for one attack, in 50 % for the other: common ones differ only in between, in 10 %."""
    random, n, draws = np.random.default_rng(1), 4000, 10
    one, two = random.random((2, n, draws))
    first = frame((one < 0.6).mean(1))
    widths = {}
    for name, luck in (("common", one), ("own", two)):
        said = analysis.compare(first, frame((luck < 0.5).mean(1), "b"))
        assert said.low < 0.1 < said.high
        widths[name] = said.high - said.low
    z = 1.959964  # of the normal interval; that of bounded evidence is up to a tenth wider
    assert widths["common"] == pytest.approx(2 * z * math.sqrt(0.1 * 0.9 / (n * draws)), rel=0.1)
    assert widths["own"] == pytest.approx(2 * z * math.sqrt((0.6 * 0.4 + 0.5 * 0.5) / (n * draws)), rel=0.1)


def test_the_worst_case_is_the_mean_of_the_least_per_image():
    both = pd.concat([frame([0, 1, 0.5, 1]), frame([1, 0.5, 0.5, np.nan], "b", "fgsm")])
    (line,) = analysis.worst_case(both).to_dict("records")
    assert (line["attacks"], line["images"]) == (2, 3), "an image that an attack has not reached does not count"
    assert line["adv"] == pytest.approx((0 + 0.5 + 0.5) / 3)
    apart = [0, 0.5, 0.75]  # the last: with two of four right in both, a right draw left out makes its attack the lower
    assert line["adv_apart"] == pytest.approx(sum(apart) / 3)
    assert (line["adv_low"], line["adv_high"]) == (rate([0, 0.5, 0.5]).low, rate(apart).high)
    assert analysis.worst_case(pd.concat([frame([0.5, np.nan]), frame([np.nan, 1], "b", "fgsm")])).empty


def test_an_attack_with_several_cells_is_at_its_worst_in_any_of_them():
    cells = [frame([0.5, 1, 1]), frame([1, 0.5, np.nan], "b"), frame([1, 1, 0.75], "c", "fgsm")]
    (line,) = analysis.worst_case(pd.concat(cells)).to_dict("records")
    assert (line["attacks"], line["images"], line["adv"]) == (2, 3, pytest.approx((0.5 + 0.5 + 0.75) / 3))


def test_a_persistent_attacker_tries_every_choice_of_draws():
    rights = [4, 2, 0, 3]
    found = analysis.persistence(frame(np.array(rights) / 4), ["cell"]).set_index("draws")["adv"]
    for m in range(1, 5):
        choices = [all(draw < right for draw in some) for right in rights for some in itertools.combinations(range(4), m)]
        assert found[m] == pytest.approx(np.mean(choices))


def test_curves_hold_cells_apart_by_the_fewest_settings(found):
    by_k = analysis.curve(found, "k")
    assert list(by_k)[:3] == ["model", "attack", "k"] and len(by_k) == 9
    assert by_k[by_k["attack"] == "pgd"]["k"].tolist() == [0, 2, 10]
    by_eps = analysis.curve(found[found["attack"] != "random"], "eps")
    assert list(by_eps)[:3] == ["model", "defense", "eps"] and len(by_eps) == 6
    assert analysis.curve(found, "draw_gradients")["draw_gradients"].is_monotonic_increasing
    with pytest.raises(BadInput, match="x 'strength': expected a setting, .*eps.*, or draw_gradients"):
        analysis.curve(found, "strength")


@pytest.mark.parametrize("x", ["steps", "eps", "eot_draws"])
def test_no_curve_goes_from_one_defense_to_another(found, x):
    two = found[found["cell"].isin(["resnet50-none-pgd", "resnet50-bart2-pgd"])]
    two = two.assign(**{x: two["defense"].map({"none": 20, "bart2": 40})})
    assert two[x].nunique() == 2 and analysis.series(two, x) == ["model", "defense"]


def test_classes_and_images_by_hand():
    some = pd.concat([frame([0, 1, 0.5], label=[7, 7, 8]), frame([0, 0.5, np.nan], "b", label=[7, 7, 8])])
    classes = analysis.per_class(some[some["cell"] == "a"])
    assert classes[["label", "images", "adv"]].to_numpy().tolist() == [[7, 2, 0.5], [8, 1, 0.5]]
    images = analysis.per_image(some)
    assert images["image_key"].tolist() == ["i0", "i2", "i1"] and images["mean"].tolist() == [0, 0.5, 0.75]
    assert images["b"].isna().tolist() == [False, True, False]


def test_a_draw_met_the_transforms_that_it_was_drawn(store):
    cell = opened(store).cells["resnet50-bart2-pgd"]
    images = [("val-000000", "image-00000000"), ("val-000001", "image-00000041")]
    rows = pa.table({"shard": [shard for shard, _ in images], "image_key": [key for _, key in images]})
    met = draw_parts.met(cell, rows)
    keys = draw_keys.to_judge(image_keys.to_judge(cell, images), cell.judged_by)
    drawn = described(Barrage(2, cell.defense.build().choices).draw(keys, (32, 32)))
    names = np.array(cell.defense.build().choices)
    assert [set(names[row]) for row in met.reshape(-1, len(names))] == [set(some) for some in drawn]


def test_transforms_that_matter_differ_within_images(store):
    found = analysis.by_transform(store, ["resnet50-none-pgd", "resnet50-bart2-pgd"])
    assert set(found["cell"]) == {"resnet50-bart2-pgd"} and len(found) == 25
    assert found["draws"].sum() == 2 * 20 * (IMAGES - FAILED)
    assert (found["adv_low"] < found["adv_difference"]).all() and (found["clean_high"] > found["clean_difference"]).all()


def test_settings_machines_and_failures_are_those_of_the_rows(store):
    columns = list(frames.SETTINGS)
    of_rows = analysis.results(store, [*columns, "status"]).query("status == 'ok'")[columns].astype({"cell": str})
    of_rows = of_rows.drop_duplicates().set_index("cell").sort_index()
    settings = analysis.settings(opened(store)).drop(columns="store").set_index("cell").sort_index()
    assert settings.astype(str).equals(of_rows.astype(str))
    (machine,) = analysis.machines(store).to_dict("records")
    assert (machine["device"], machine["images"]) == ("H100", 9 * IMAGES)
    assert machine["hours"] == pytest.approx(analysis.results(store, ["seconds"])["seconds"].sum() / 3600)
    (bad,) = analysis.failures(store).to_dict("records")
    assert (bad["status"], bad["error"], bad["images"], bad["cells"]) == ("bad_image", "truncated", FAILED, 9)


def test_a_store_that_can_not_be_read_is_one_clear_line(tmp_path):
    with pytest.raises(BadInput, match="holds no rows yet: give the folder that `barrage run` wrote to"):
        analysis.scores(str(tmp_path))
    name = "results/a--s--000000-000001.parquet"
    handmade.planned(tmp_path, "a", 1, Cut(1)).create(name, b"PAR1 half a file")
    with pytest.raises(BadInput, match="is no whole Parquet file"):
        analysis.scores(str(tmp_path))
    old = pd.DataFrame({"image_key": ["x"], "cell": ["a"]})
    old.to_parquet(tmp_path / name)
    with pytest.raises(BadInput, match="lacks the column label, which format 1 has: another program wrote it"):
        analysis.results(str(tmp_path), ["label"])
    with pytest.raises(BadInput, match="rule 'best', top 1: expected one of single, vote, mean, persistent"):
        analysis.scores(str(tmp_path), "best")
    assert set(frames._KEPT) < set(schema.SCHEMA.names)
