"""Where cells err: against counts by hand and plain loops, and for stores with nothing to show."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import analysis
from pipeline.analysis import errors
from pipeline.analysis.errors import reading
from pipeline.analysis.errors.attacks import Outcomes
from pipeline.errors import BadInput
from pipeline.scoring.intervals import rate
from tests.support.stores import given_columns, synthetic

CELL, OTHER = "resnet50-bart2-pgd", "resnet50-bart2-weak"
ATTACKS = {"pgd": {"eps": "8/255", "steps": 10, "eot_draws": 4}, "weak": {"eps": "2/255", "steps": 10, "eot_draws": 4}}
NAMES = ["ant", "bee", "cat", "dog"]
DRAWS = 20


def said(label, wrong, right_draws):
    """The first class of each draw, (n, DRAWS): the label in the last `right_draws` (n,) of them, else `wrong` (n,)."""
    right = np.arange(DRAWS)[None] >= DRAWS - np.asarray(right_draws)[:, None]
    return np.where(right, np.asarray(label)[:, None], np.asarray(wrong)[:, None])


def store(folder, label, wrong, adv, clean=None, attacks=ATTACKS, others=None, names=NAMES, **columns):
    """A store of two cells on the same images: `adv` right draws of each image under attack, `others` in the second cell."""
    images = len(label)
    job = given_columns.planned(folder, images, (2,), attacks, data={"shards": "none/val-000000.tar", "classes": names})
    clean = [DRAWS] * images if clean is None else clean
    for cell, right in ((CELL, adv), (OTHER, others)):
        if right is not None:
            sides = given_columns.verdicts("clean", label, said(label, wrong, clean))
            sides |= given_columns.verdicts("adv", label, said(label, wrong, right))
            given_columns.commit(job, cell, **{"label": label} | sides | columns)
    return job.store


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """Six images of four classes; two attacks; margins and norms by hand."""
    return store(
        tmp_path_factory.mktemp("six") / "store",
        label=[0, 0, 1, 2, 2, 3],
        wrong=[1, 1, 2, 3, 3, 0],
        adv=[0, 20, 0, 10, 12, 20],
        others=[0, 20, 20, 0, 20, 20],
        clean=[20, 20, 20, 20, 20, 5],
        clean_margin=[0.95, 0.3, 0.31, None, 1.0, -1.0],
        gradient_norm=[1.0, 2.0, 3.0, None, 5.0, 4.0],
        zero_gradients=[10, 0, 0, 0, 0, 0],
        nonfinite_gradients=[0, 5, 0, 0, 0, 0],
    )


def test_classes_that_are_taken_for_others_by_hand(six):
    found = errors.confusion(six, CELL, NAMES)
    assert found.classes == (0, 1, 2, 3) and found.names == ("ant", "bee", "cat", "dog")
    assert found.counts.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 2], [0, 0, 0, 1]]
    few = errors.confusion(six, CELL, NAMES, most=2)
    assert few.classes == (1, 2), "cat takes part in three errors, bee and dog in two: the lower label of them"
    assert few.counts.tolist() == [[0, 1, 0], [0, 0, 2], [1, 0, 2]]


def test_classes_beyond_the_most_are_the_others(tmp_path):
    random = np.random.default_rng(0)
    label, wrong = random.integers(0, 60, 900), random.integers(0, 60, 900)
    url = store(tmp_path / "s", label.tolist(), wrong.tolist(), adv=[0] * 900, names=None)
    found = errors.confusion(url, CELL)
    assert len(found.classes) == 30 and found.counts.shape == (31, 31) and found.counts.sum() == 900
    taken = {c: int(((label == c) ^ (wrong == c)).sum()) for c in range(60)}
    assert set(found.classes) == set(sorted(taken, key=lambda c: (-taken[c], c))[:30])
    pairs = pd.crosstab(label, wrong).reindex(index=found.classes, columns=found.classes, fill_value=0)
    assert found.counts[:30, :30].tolist() == pairs.to_numpy().tolist()
    assert found.names[0] == str(found.classes[0])


def test_margins_in_bins_by_hand(six):
    lines = errors.margins(six, CELL).to_dict("records")
    assert [(line["low"], line["high"], line["images"], line["adv"]) for line in lines] == [
        (-1.0, -0.9, 1, 1.0),
        (0.3, 0.4, 2, 0.5),
        (0.9, 1.0, 2, 0.3),
    ]
    truth = rate([1.0, 0.0])
    assert (lines[1]["adv_low"], lines[1]["adv_high"]) == (truth.low, truth.high)
    assert errors.margins(six, CELL, "persistent")["adv"].tolist() == [1.0, 0.5, 0.0]


def test_agreement_of_attacks_by_hand(six):
    found = errors.agreement(analysis.scores(six))
    assert list(found) == [CELL, OTHER] == list(found.index)
    # right under both: images 1, 4, 5; under neither: 0, 3 (10 of 20 is not more than a half)
    assert found.to_numpy().tolist() == [[1, pytest.approx(5 / 6)], [pytest.approx(5 / 6), 1]]


def test_attacks_meet_on_images_by_name_whatever_the_order_of_lines(six):
    found = analysis.scores(six)
    mixed = found.sample(frac=1, random_state=1)
    assert errors.agreement(mixed).equals(errors.agreement(found))
    plain = mixed.astype(dict.fromkeys(("shard", "image_key", "cell"), str))
    wide = plain[plain["adv"].notna()].pivot(index=["shard", "image_key"], columns="cell", values="adv") > 0.5
    alike = [[(wide[one] == wide[other]).mean() for other in (CELL, OTHER)] for one in (CELL, OTHER)]
    assert errors.agreement(mixed).to_numpy().tolist() == alike
    with pytest.raises(ValueError, match="an image stands twice in a cell"):
        errors.broken(pd.concat([found, found]))


def test_images_that_every_attack_breaks_or_none_does(six):
    found = errors.broken(analysis.scores(six))
    by_key = found.set_index("image_key")["broken"].to_dict()
    keys = given_columns.keys(6)
    assert by_key == {keys[0]: 2, keys[1]: 0, keys[2]: 1, keys[3]: 2, keys[4]: 0}, "the sixth is wrong clean"
    assert (found["attacks"] == 2).all() and found["broken"].is_monotonic_decreasing


def test_health_of_gradients_by_hand(six):
    line = errors.gradients(six, [CELL]).to_dict("records")[0]
    assert (line["images"], line["zero"], line["nonfinite"]) == (6, pytest.approx(10 / 60), pytest.approx(5 / 60))
    assert line["norm_median"] == 3 and (line["norm_low"], line["norm_high"]) == pytest.approx((1.4, 4.6))
    assert line["blind"] == 1, "that of infinite gradients; the one of zeros won all the same"


def test_all_of_it_as_plain_values(six):
    found = errors.errors(six, CELL)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["confusion"]["names"] == NAMES and found["confusion"]["counts"][2][3] == 2
    assert found["agreement"] == {"cells": [CELL, OTHER], "share": [[1.0, 5 / 6], [5 / 6, 1.0]]}
    always, never = found["always_broken"], found["never_broken"]
    assert (always["images"], always["of"], never["images"]) == (2, 5, 2)
    assert always["examples"] == [[given_columns.SHARD, key] for key in (given_columns.keys(6)[0], given_columns.keys(6)[3])]
    classes = {line["name"]: line for line in found["classes"]}
    assert list(classes) == ["bee", "ant", "cat", "dog"] and classes["ant"]["adv"] == 0.5 and classes["cat"]["images"] == 2
    truth = rate([0.5, 0.6])
    assert [classes["cat"][name] for name in ("adv", "adv_low", "adv_high")] == [truth.value, truth.low, truth.high]
    assert len(found["parts"]) == 25 and [line["cell"] for line in found["gradients"]] == [CELL, OTHER]
    assert set(found["parts"][0]) == {"part", "draws", "right_with", "right_without", "difference", "low", "high"}
    strict = errors.errors(six, CELL, "persistent", 5)
    assert strict["margins"][1]["adv"] == 0.5 and strict["agreement"]["share"][0][1] == 4 / 6


@pytest.mark.parametrize("rule", ["single", "vote", "mean", "persistent"])
def test_figures_are_those_of_the_table(tmp_path, rule):
    synthetic.store(tmp_path, synthetic.campaign([2], ATTACKS), 60, 30, 2)
    found, cell = errors.errors(str(tmp_path), CELL, rule), analysis.scores(str(tmp_path), rule, cells=[CELL])
    attacked = cell.dropna(subset=["adv"])
    counts = np.array(found["confusion"]["counts"])
    assert counts.sum() == sum(line["images"] for line in found["classes"]) == 58 == found["gradients"][0]["images"]
    assert found["margins"] == [], "rows without margins"
    mean = sum(line["images"] * line["adv"] for line in found["classes"]) / 58
    assert mean == pytest.approx(attacked["adv"].mean())


def test_stores_that_have_nothing_to_show(tmp_path):
    bad = {"status": "bad_image", "error": "truncated"}
    empty = given_columns.planned(tmp_path / "empty", 2)
    with pytest.raises(BadInput, match="holds no rows of the cell 'resnet50-bart2-pgd': it has none yet"):
        errors.errors(empty.store, CELL)
    given_columns.commit(empty, CELL, **bad, evaluation_draws=None)
    found = errors.errors(empty.store, CELL)
    assert found["confusion"]["counts"] == found["margins"] == found["classes"] == found["agreement"]["share"] == []
    assert found["always_broken"] == found["never_broken"] == {"images": 0, "of": 0, "examples": []}
    assert found["gradients"][0]["images"] == 0 and found["gradients"][0]["zero"] is None
    with pytest.raises(BadInput, match="no rows of the cell 'x': it has resnet50-bart2-pgd"):
        errors.errors(empty.store, "x")
    with pytest.raises(BadInput, match="rule 'best', top 1: expected one of single"):
        errors.errors(empty.store, CELL, "best")


def test_one_image_of_one_class(tmp_path):
    found = errors.errors(store(tmp_path / "s", [2], [0], adv=[0]), CELL)
    assert found["confusion"]["classes"] == [0, 2] and found["confusion"]["counts"] == [[0, 0], [1, 0]]
    assert found["agreement"] == {"cells": [CELL], "share": [[1.0]]} and found["always_broken"]["images"] == 1
    assert found["classes"][0]["name"] == "cat" and all(line["difference"] in (0, None) for line in found["parts"])


def test_images_without_a_label_and_answers_that_are_none(tmp_path):
    url = store(tmp_path / "s", [1, 1, 1], [-1, 0, 0], adv=[0, 0, 20], names=None)
    found = errors.errors(url, CELL)
    assert found["confusion"]["names"] == ["no answer", "0", "1"]
    label = given_columns.planned(tmp_path / "none", 3)
    verdicts = given_columns.verdicts("clean", [1, 1, 1], np.zeros((3, DRAWS), int))
    verdicts |= given_columns.verdicts("adv", [1, 1, 1], np.ones((3, DRAWS), int))
    given_columns.commit(label, CELL, label=[None, 1, None], target=[3, 3, 3], target_hits=[0, 0, 20], **verdicts)
    found = errors.errors(label.store, CELL)
    assert np.sum(found["confusion"]["counts"]) == 1 and [line["label"] for line in found["classes"]] == [1]
    assert analysis.per_class(analysis.scores(label.store), names=["ant", "bee"])["class"].tolist()[0] in (None, "bee")


def test_hostile_names_are_texts(tmp_path):
    hostile = ["<script>alert(1)</script>", "\x1b[31m\u202e", "a" * 10_000, "'; drop table"]
    found = errors.errors(store(tmp_path / "s", [0, 1, 2, 3], [1, 2, 3, 0], adv=[0] * 4, names=hostile), CELL)
    assert found["confusion"]["names"] == hostile and {line["name"] for line in found["classes"]} == set(hostile)


def test_what_cells_share_is_read_once_and_draws_are_made_again_of_some_images_only(tmp_path, monkeypatch):
    job = synthetic.store(tmp_path, synthetic.campaign([2, 3], ATTACKS), 60, 30, 2)
    whole = {cell: errors.errors(job.store, cell) for cell in sorted(job.cells)}
    read, batches = [], reading.batches

    def noted(store, columns, cells):
        read.append(cells)
        return batches(store, columns, cells)

    monkeypatch.setattr(reading, "batches", noted)
    found = dict(errors.of_job(job, sorted(job.cells)))
    assert found == whole and len(whole) == 4
    shared = [cells for cells in read if len(cells) == 2]
    assert len(shared) == 2, "the two attacks on each defense are read together once, not for each of its cells"
    few = dict(errors.of_job(job, [CELL], drawn=7))[CELL]
    assert few["drawn"] == 7 and whole[CELL]["drawn"] == 58 and sum(part["draws"] for part in few["parts"]) == 7 * DRAWS * 2
    assert {key: few[key] for key in few.keys() - {"parts", "drawn"}} == {
        key: whole[CELL][key] for key in few.keys() - {"parts", "drawn"}
    }


def outcome_by_hand(cells):
    """What `Outcomes` says of {cell: {name: (clean, adv)}}, by plain loops: the agreement, and {image: times broken}."""
    share = {}
    for one in cells:
        for other in cells:
            both = cells[one].keys() & cells[other].keys()
            alike = [(cells[one][name][1] > 0.5) == (cells[other][name][1] > 0.5) for name in both]
            share[one, other] = sum(alike) / len(alike) if alike else None
    every = set.intersection(*map(set, cells.values()))
    right = [name for name in every if all(ends[name][0] > 0.5 for ends in cells.values())]
    return share, {name: sum(ends[name][1] <= 0.5 for ends in cells.values()) for name in right}


def test_outcomes_of_cells_that_reached_other_images_in_other_orders(tmp_path):
    random, cells, outcomes = np.random.default_rng(3), {}, Outcomes()
    for cell, images in {"a": 40, "b": 40, "c": 25, "d": 3}.items():
        chosen = random.permutation(60 if cell == "c" else 40)[:images]
        names = [f"val-{i % 3}/image/{i:02d}" for i in chosen.tolist()]
        cells[cell] = dict(zip(names, random.choice([0.0, 0.5, 0.55, 1.0], (images, 2)).tolist(), strict=True))
        clean, adv = np.array(list(cells[cell].values())).T
        outcomes.add(cell, pa.array(names), clean, adv)
    nothing = np.full(2, np.nan)
    outcomes.add("failed", pa.array(["val-0/x", "val-0/y"]), nothing, nothing)
    share, times = outcome_by_hand({cell: cells[cell] for cell in "dacb"})
    found = outcomes.in_order("dacb")
    assert found.cells == list("dacb") and outcomes.cells == list("abcd")
    expected = [[share[one, other] for other in "dacb"] for one in "dacb"]
    assert [[None if value != value else value for value in row] for row in found.agreement().tolist()] == expected
    place, broken = found.broken()
    assert dict(zip(found.names.take(pa.array(place)).to_pylist(), broken.tolist(), strict=True)) == times
    wide, (_, counts) = outcome_by_hand({cell: cells[cell] for cell in "ab"})[1], two(cells).broken()
    assert sorted(counts.tolist()) == sorted(wide.values()) and len(wide) > 5
    assert found.named(place).column_names == ["shard", "image_key"]
    with pytest.raises(ValueError, match="an image stands twice in a cell"):
        outcomes.add("e", pa.array(["val-0/x", "val-0/x"]), np.ones(2), np.ones(2))


def two(cells):
    found = Outcomes()
    for cell in "ab":
        clean, adv = np.array(list(cells[cell].values())).T
        found.add(cell, pa.array(list(cells[cell])), clean, adv)
    return found


def test_rows_without_their_lists_still_have_margins_and_classes(six, tmp_path):
    """As release 0.1 compacted them: what needs no list is told all the same."""
    for folder in ("units", "results"):
        shutil.copytree(Path(six) / folder, tmp_path / folder)
    shutil.copy(Path(six) / "campaign.yaml", tmp_path)
    for file in (tmp_path / "results").iterdir():
        rows = pq.read_table(file, partitioning=None)
        for name in ("clean_top5", "adv_top5", "clean_mean_top5", "adv_mean_top5"):
            rows = rows.set_column(rows.schema.names.index(name), rows.schema.field(name), pa.nulls(6, rows[name].type))
        pq.write_table(rows, file)
    found, whole = errors.errors(str(tmp_path), CELL), errors.errors(six, CELL)
    assert {name: found[name] for name in found if found[name] != whole[name]}.keys() == {"confusion", "parts", "drawn"}
    assert found["margins"] and found["classes"] and found["confusion"]["counts"] == [] and found["drawn"] == 0
