"""What a row says of its draws together follows from its lists of classes, and is the same wherever it is read from."""

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.scoring import decided, rules, summaries
from pipeline.store import rows, schema
from tests.support.stores import synthetic

BEFORE = Path(__file__).parents[1] / "store" / "before_bits"
"""A store that was written before the columns of `decided.DECIDED`, with two units in each of two cells, and its table."""


def row(draws, key, status="ok"):
    """A row of few classes, so that votes are close; -1 fills the lists of a model of three classes."""
    out = {
        "image_key": key,
        "cell": "c",
        "status": status,
        "label": draws.randrange(5),
        "evaluation_draws": draws.choice([1, 2, 4, 7]),
    }
    if status != "ok":
        return out
    for side in ("clean", "adv"):
        fives = [five(draws) for _ in range(out["evaluation_draws"])]
        out |= {f"{side}_top5": fives, f"{side}_mean_top5": five(draws)}
        out[f"{side}_correct"] = sum(one[0] == out["label"] for one in fives)
        out[f"{side}_top5_correct"] = sum(out["label"] in one for one in fives)
    return out


def five(draws):
    return draws.choice([draws.sample(range(7), 5), [*draws.sample(range(3), 3), -1, -1]])


def by_hand(found, side):
    """The sum of bits of a row, from the definitions, vote by vote."""
    label, bits = found["label"], 0
    for top, bit in ((1, 1), (5, 2)):
        votes = Counter()
        for draw in found[f"{side}_top5"]:
            for rank, one in enumerate(draw[:top]):
                votes[one] += 1000 - rank
        bits += bit * (label in [one for one, _ in votes.most_common(top)])
    return bits + 4 * (found[f"{side}_mean_top5"][0] == label) + 8 * (label in found[f"{side}_mean_top5"])


@pytest.fixture(scope="module")
def made():
    draws = random.Random(5)
    return [row(draws, str(i), "ok" if draws.random() < 0.9 else "bad_image") for i in range(400)]


def test_a_file_says_of_each_row_what_follows_by_hand_and_nothing_of_failed_images(made, tmp_path):
    (tmp_path / "rows.parquet").write_bytes(schema.encode(made, {}))
    found = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    for one, told in zip(made, found, strict=True):
        for side in ("clean", "adv"):
            assert told[f"{side}_right"] == (by_hand(one, side) if one["status"] == "ok" else None)
    assert {told["adv_right"] for told in found} >= {None, 0, 2, 3, 8, 10, 15}


@pytest.mark.parametrize(
    "wanted", [["adv_right"], ["image_key", "clean_right", "label"], [*decided.DECIDED, "adv_top5"]], ids=len
)
def test_files_that_lack_the_columns_are_read_as_if_they_had_them(made, tmp_path, wanted):
    whole, without = tmp_path / "whole.parquet", tmp_path / "without.parquet"
    whole.write_bytes(schema.encode(made, {}))
    table = pq.read_table(whole)
    pq.write_table(table.drop_columns(list(decided.DECIDED)), without, write_page_checksum=True)
    found = []
    for path in (whole, without):
        with path.open("rb") as file:
            found.append(pa.Table.from_batches(rows.read(file, "rows.parquet", wanted)).to_pylist())
        assert found[-1] == table.select(wanted).to_pylist()
        assert rows.table(path.read_bytes(), "rows.parquet").select(wanted).to_pylist() == found[-1]
    assert found[0] == found[1]


def test_one_row_alone_is_scored_by_its_lists_or_by_what_it_says(made):
    for one in (one for one in made if one["status"] == "ok"):
        for (rule, top), bit in decided.BITS.items():
            share = float(by_hand(one, "adv") & bit > 0)
            assert rules.of_row(one, rule, "adv", top) == share
            assert rules.of_row({"adv_right": by_hand(one, "adv")}, rule, "adv", top) == share


def test_a_store_from_before_the_columns_gives_the_table_that_it_gave_then(tmp_path):
    """Its rows, its rows beside new ones, and new ones alone; processors add floats in different orders."""
    every = list(rules.RULES.builtin)
    found = summaries.lines(rows.batches(str(BEFORE / "store"), summaries.columns(every)), every)
    now, then = json.loads(summaries.to_json(found)), json.loads((BEFORE / "table.json").read_text())
    assert len(now) == len(then)
    for line, before in zip(now, then, strict=True):
        floats = {name: value for name, value in before.items() if isinstance(value, float)}
        assert {name: line[name] for name in floats} == pytest.approx(floats, rel=1e-12, abs=0)
        assert line | floats == before
    assert len(found) == 8 and {line.failed for line in found} == {2}
    old = rows.results(str(BEFORE / "store"))
    assert schema.decide(old.cast(schema.SCHEMA)).to_pylist() == old.to_pylist()


@pytest.mark.parametrize("kept", [0, 1, 2], ids=["new", "mixed", "old"])
def test_old_and_new_files_of_one_cell_make_the_table_of_new_ones(tmp_path, kept):
    every = list(rules.RULES)
    synthetic.store(tmp_path, synthetic.campaign([2]), images=40, unit_images=20, failed=3)
    expected = summaries.lines(rows.batches(str(tmp_path), summaries.columns(every)), every)
    for path in sorted(tmp_path.glob("results/*.parquet")):
        if path.stem.endswith("000020") >= (2 - kept):
            pq.write_table(pq.read_table(path).drop_columns(list(decided.DECIDED)), path, write_page_checksum=True)
    assert summaries.lines(rows.batches(str(tmp_path), summaries.columns(every)), every) == expected
    lacking = [path for path in tmp_path.glob("results/*.parquet") if "adv_right" not in pq.read_schema(path).names]
    assert len(lacking) == 3 * kept
