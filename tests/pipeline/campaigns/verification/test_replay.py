"""One image attacked again alone: its row is the row of the run, and a row that is not says which column and why."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from pipeline.campaigns.job import opened
from pipeline.campaigns.verification.replay import COMPARED, find, replay, with_stack
from pipeline.data.pack import pack
from pipeline.errors import BadInput
from pipeline.scoring import decided
from pipeline.store import schema
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.campaigns import ran

CPU = torch.device("cpu")
TRANSFORMS = ["color_precision", "grey_mix", "grey_one_channel"]


def campaign(shards, **changes):
    """A campaign with cells of many kinds: undefended, defended; plain, ended at a break, targeted, without gradients."""
    return tiny.campaign(
        shards,
        attacks={
            "pgd": {"eps": "8/255", "steps": 4, "eot_draws": 3},
            "early": {"norm": "l2", "eps": 6.0, "steps": 8, "eot_draws": 2, "mode": "first_break", "break_draws": 2},
            "target": {"eps": "8/255", "steps": 3, "eot_draws": 2, "goal": "least_likely"},
            "square": {"kind": "square", "eps": "16/255", "steps": 5, "eot_draws": 2},
        },
        cells=[{"model": "net", "defense": ["none", "bart2"], "attack": ["pgd", "early", "target", "square"]}],
        skip_misclassified="single",
        unit_images=4,
        workers={"checkpoint_seconds": 1e9, "stack": 8},
        **changes,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """One shard of nine images; the last is broken."""
    folder, files = tmp_path_factory.mktemp("photos"), []
    for i in range(9):
        path = folder / f"image{i}.png"
        path.write_bytes(tiny.picture(i) if i < 8 else b"no picture")
        files.append((path, 1 if i else 5))  # the network gives all of them class 1: so the first is misclassified
    pack(files, folder / "shards", "photos", per_shard=9)
    return str(folder / "shards" / "photos-000000.tar")


@pytest.fixture(scope="module")
def store(tmp_path_factory, photos):
    job, outcome = ran(campaign(photos), tmp_path_factory.mktemp("finished") / "store")
    assert outcome.failed_images == 8, "the broken image in each cell"
    return job.store


def tampered(store, folder, cell, image, **changes):
    """A copy of a store in which one row has other values."""
    copy = Path(folder) / "copy"
    for path in Path(store).rglob("*"):
        if path.is_file():
            (copy / path.relative_to(store)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(store)).write_bytes(path.read_bytes())
    for path in copy.glob(f"results/{cell}--*.parquet"):
        rows = pq.ParquetFile(path).read().to_pylist()
        if image in [row["image_key"] for row in rows]:
            rows = [row | changes if row["image_key"] == image else row for row in rows]
            path.write_bytes(schema.encode(rows, {}))
    return str(copy)


def test_every_row_of_the_run_comes_out_the_same_alone(store):
    job, seen = opened(store), results(store).to_pylist()
    kinds = {
        "attacked to the end": lambda row: row["status"] == "ok" and row["first_break"] is None,
        "left at a break": lambda row: (row["first_break"] or 0) > 0,
        "skipped": lambda row: row["first_break"] == 0,
        "targeted": lambda row: row["target"] is not None,
        "failed": lambda row: row["status"] == "bad_image",
    }
    for kind, has in kinds.items():
        assert any(map(has, seen)), f"the store has no row that was {kind}"
    for row in seen:
        found = replay(job, row, CPU)
        assert not found.differences and not found.reasons, found


def test_among_the_images_of_its_unit_it_is_the_same_too(store):
    row = find(store, "image3", ["net-bart2-pgd"])[0]
    assert not replay(opened(store), row, CPU, together=True).differences


def test_replay_leaves_the_store_as_it_is(store):
    before = {path: path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}
    replay(opened(store), find(store, "image3")[0], CPU)
    assert {path: path.read_bytes() for path in Path(store).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("l2", 0.125),
        ("adv_correct", 77),
        ("label", 2),
        ("error", "none"),
        ("nonfinite_gradients", 1),
        ("clean_margin", 0.3),
        ("gradient_norm", 0.5),
    ],
)
def test_a_changed_value_is_named_with_both_values(store, tmp_path, column, value):
    row = find(store, "image3", ["net-bart2-pgd"])[0]
    copy = tampered(store, tmp_path, "net-bart2-pgd", "image3", **{column: value})
    found = replay(opened(copy), find(copy, "image3", ["net-bart2-pgd"])[0], CPU).differences
    (difference,) = [each for each in found if each.column not in decided.DECIDED]  # these follow from the label and the draws
    assert (difference.column, difference.stored, difference.now) == (column, value, row[column])


def test_margins_and_norms_may_be_rounded_otherwise_and_no_more(store, tmp_path):
    row = find(store, "image3", ["net-bart2-pgd"])[0]
    near = {"adv_margin": row["adv_margin"] + 9e-4, "gradient_norm": row["gradient_norm"] * 1.009}
    far = {"adv_margin": row["adv_margin"] + 2e-3, "gradient_norm": row["gradient_norm"] * 1.03}
    for number, (changes, differ) in enumerate(((near, set()), (far, set(far)))):
        copy = tampered(store, tmp_path / str(number), "net-bart2-pgd", "image3", **changes)
        found = replay(opened(copy), find(copy, "image3", ["net-bart2-pgd"])[0], CPU)
        assert {difference.column for difference in found.differences} == differ


def test_how_a_run_went_is_not_compared(store, tmp_path):
    versions = json.dumps({"torch": "1.0"})
    other = {"seconds": 9.0, "device": "Abacus", "commit": "0" * 40, "versions": versions}
    copy = tampered(store, tmp_path, "net-none-pgd", "image1", **other)
    found = replay(opened(copy), find(copy, "image1", ["net-none-pgd"])[0], CPU)
    assert not found.differences and not found.reasons and not other.keys() & set(COMPARED)


def test_a_row_that_differs_says_what_made_it(store, tmp_path):
    other = {"device": "Abacus", "commit": "0" * 40 + "+", "versions": json.dumps({"torch": "1.0"}), "l2": 0.5}
    copy = tampered(store, tmp_path, "net-none-pgd", "image1", **other)
    found = replay(opened(copy), find(copy, "image1", ["net-none-pgd"])[0], CPU)
    assert [difference.column for difference in found.differences] == ["l2"]
    said = "\n".join(found.reasons)
    assert "ran on Abacus, this is cpu" in said and f"made by commit {'0' * 40}+, this is" in said
    assert f"with torch 1.0, here it is {torch.__version__.partition('+')[0]}" in said and "not committed" in said


def test_a_row_made_here_that_differs_was_changed_or_rounded(store, tmp_path):
    copy = tampered(store, tmp_path, "net-none-pgd", "image1", l2=0.5)
    row = find(copy, "image1", ["net-none-pgd"])[0]
    (alone,) = (r for r in replay(opened(copy), row, CPU).reasons if "was changed after" in r)
    (together,) = (r for r in replay(opened(copy), row, CPU, together=True).reasons if "was changed after" in r)
    assert "--together" in alone and "--together" not in together


def test_a_row_of_another_identity_is_not_attacked(store, tmp_path):
    copy = tampered(store, tmp_path, "net-none-pgd", "image1", campaign="0123456789abcdef")
    with pytest.raises(BadInput, match="holds rows of another campaign"):
        find(copy, "image1", ["net-none-pgd"])
    row = find(store, "image1", ["net-none-pgd"])[0] | {"campaign": "0123456789abcdef", "l2": 0.5}
    found = replay(opened(store), row, CPU)
    assert [d.column for d in found.differences] == ["campaign"] and "another campaign" in found.reasons[0]


def test_an_image_that_was_readable_then_and_is_not_now_differs_in_its_status(store, tmp_path):
    row = find(store, "image8", ["net-none-pgd"])[0]
    copy = tampered(store, tmp_path, "net-none-pgd", "image8", status="ok", error=None)
    found = replay(opened(copy), find(copy, "image8", ["net-none-pgd"])[0], CPU)
    assert {d.column: d.now for d in found.differences} == {"status": "bad_image", "error": row["error"]}


def test_an_unknown_key_names_the_nearest(store):
    with pytest.raises(BadInput, match="no row of image imag3: did you mean image3"):
        find(store, "imag3")
    with pytest.raises(BadInput, match="no row of image zebra: expected a key of its rows, such as image0"):
        find(store, "zebra")
    with pytest.raises(BadInput, match="image3 in shard other: leave --shard out"):
        find(store, "image3", shard="other")


def test_a_shard_that_is_gone_is_bad_input(store, tmp_path, photos):
    copy = tampered(store, tmp_path, "net-none-pgd", "image1")
    campaign_file = Path(copy) / "campaign.yaml"
    moved = yaml.safe_load(campaign_file.read_text().replace(photos, str(tmp_path / "photos-000000.tar")))
    del moved["sha256"]
    campaign_file.write_text(yaml.safe_dump(moved))
    with pytest.raises(BadInput, match=f"shard {tmp_path}/photos-000000.tar can not be read"):
        replay(opened(copy), find(copy, "image1", ["net-none-pgd"])[0], CPU)


def test_a_cell_that_a_stop_rule_ended_can_be_replayed(tmp_path, pattern):
    stop = {"interval": 0.49, "minimum_images": 2}
    job, _ = ran(tiny.campaign(pattern, stop=stop, unit_images=1), tmp_path / "store")
    seen = results(job.store).to_pylist()
    assert 0 < len(seen) < 16, "the rule ended no cell"
    assert not replay(opened(job.store), seen[-1], CPU).differences


def test_the_command_says_same_or_which_column_and_exits_so(barrage, store, tmp_path):
    code, out, _ = barrage("replay", store, "image3")
    assert code == 0 and out.count(f"the same row, {len(COMPARED)} values") == 8
    copy = tampered(store, tmp_path, "net-bart2-pgd", "image3", adv_correct=77)
    code, out, _ = barrage(
        "replay", copy, "image3", "--cell", "net-none-pgd", "--cell", "net-bart2-pgd", "--shard", "photos-000000"
    )
    assert code == 1 and out.count("the same row") == 1 and f"1 of {len(COMPARED)} values differ" in out
    assert "adv_correct" in out and "77" in out
    code, _, err = barrage("replay", store, "image33")
    assert code == 2 and len(err.splitlines()) == 1 and "did you mean image3" in err
    assert barrage("replay", store, "image3", "--cell", "nothing")[0] == 2


def test_the_stack_can_be_that_of_the_run(barrage, store):
    assert with_stack(opened(store), 8).workers.stack == 8 and with_stack(opened(store), None).workers.stack is None
    assert barrage("replay", store, "image3", "--cell", "net-bart2-pgd", "--together", "--stack", "8")[0] == 0
