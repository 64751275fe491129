"""Two shards that hold the same keys: an image is named by shard and key, in every command that counts images."""

import json

import numpy as np
import pytest
import torch

from pipeline import analysis
from pipeline.campaigns.check.findings import findings
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.verification.replay import find, replay
from pipeline.campaigns.verification.verify import verify
from pipeline.config.campaign import parse
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.reports.pictures import Images
from pipeline.scoring import summaries
from pipeline.store.rows import batches, results
from tests.support import tiny
from tests.support.campaigns import ran
from tests.support.odd.shards import tar


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("same")
    for name, first in (("p1", 0), ("p2", 4)):
        members = [(f"{i:06d}.{kind}", data) for i in range(4)
                   for kind, data in (("png", tiny.picture(first + i)), ("cls", b"%d" % (first + i)))]  # fmt: skip
        (folder / f"{name}.tar").write_bytes(tar(*members))
    attacks = {"pgd": {"eps": "8/255", "steps": 3}, "fgsm": {"kind": "fgsm", "eps": "8/255"}}
    grid = [{"model": "net", "defense": "none", "attack": ["pgd", "fgsm"]}]
    job, outcome = ran(tiny.campaign(str(folder / "p{1,2}.tar"), attacks=attacks, cells=grid), folder / "store")
    assert outcome.exit_code == 0
    return job


def test_the_store_is_sound_and_every_count_is_eight(done):
    assert list(verify(done, sample=4)) == []
    scores = analysis.scores(done.store)
    assert {line.images for line in summaries.lines(batches(done.store))} == {8}
    assert len(analysis.per_image(scores)) == 8
    (worst,) = analysis.worst_case(scores).to_dict("records")
    (pooled,) = analysis.accuracy(scores, ["model"]).to_dict("records")
    assert worst["images"] == pooled["images"] == 8
    found = results(done.store).to_pandas()
    truth = found.assign(right=found["adv_correct"] / found["evaluation_draws"])
    assert worst["adv"] == pytest.approx(truth.groupby(["shard", "image_key"])["right"].min().mean())
    first, second = (scores[scores["attack"] == name] for name in ("pgd", "fgsm"))
    assert analysis.compare(first, second).images == 8
    with pytest.raises(BadInput, match="holds an image twice"):
        analysis.compare(scores, second)


def test_failures_count_the_images_of_all_shards(done):
    scores = analysis.scores(done.store)
    assert scores.groupby(analysis.IMAGE[1])["cell"].count().max() == 4 and np.isfinite(scores["adv"]).all()
    assert len(findings(done.cells["net-none-pgd"], done.store)) == 0


def test_one_image_is_shown_and_attacked_again_by_its_shard(done, tmp_path, barrage):
    picture = tmp_path / "x.png"
    code, _, err = barrage("show", done.store, "000001", "-o", picture)
    assert code == 2 and "in the shards p1, p2: choose one with --shard" in err and not picture.exists()
    code, _, _ = barrage("show", done.store, "000001", "--shard", "p2", "-o", picture, "--allow-module", "tests")
    assert code == 0 and picture.exists()
    code, _, err = barrage("show", done.store, "000001", "--shard", "p3", "-o", picture)
    assert code == 2 and "choose one with --shard" in err
    found = find(done.store, "000001")
    assert sorted((row["shard"], row["label"]) for row in found) == [("p1", 1), ("p1", 1), ("p2", 5), ("p2", 5)]
    assert all(replay(done, row, torch.device("cpu")).differences == () for row in found[:2])
    assert [shard.images for shard in done.shards.values()] == [4, 4] and shards.name("a/p2.tar") == "p2"


def test_names_that_no_disk_takes_are_refused_before_the_run(tmp_path):
    path = tmp_path / f"{'图' * 70}.tar"
    path.write_bytes(tar(("a.png", tiny.picture(0)), ("a.cls", b"1")))
    with pytest.raises(BadInput, match="names of 2.. bytes, more than 255: shorten one"):
        prepare(parse(tiny.campaign(str(path)), "c"), str(tmp_path / "store"))


def test_shards_without_an_image_are_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(bytes(10_240))
    with pytest.raises(BadInput, match="hold no image: write shards"):
        prepare(parse(tiny.campaign(str(tmp_path / "x.tar")), "c"), str(tmp_path / "store"))


def alike(folder, *names):
    """A campaign of two cells, whose names begin alike, on two shards of these names."""
    for i, name in enumerate(names):
        (folder / f"{name}.tar").write_bytes(tar(("a.png", tiny.picture(i)), ("a.cls", b"%d" % i)))
    attacks = {name: {"eps": "8/255", "steps": 1} for name in ("pgd", "pgd--x")}
    grid = [{"model": "net", "defense": "none", "attack": list(attacks)}]
    return tiny.campaign([str(folder / f"{name}.tar") for name in names], attacks=attacks, cells=grid)


def test_units_whose_files_would_have_one_name_are_refused_before_the_run(tmp_path):
    content = alike(tmp_path, "s", "x--s")
    with pytest.raises(
        BadInput, match="cell net-none-pgd--x with shard s and cell net-none-pgd with shard x--s would have files"
    ):
        prepare(parse(content, "c"), str(tmp_path / "store"))


def test_names_that_begin_alike_are_told_apart(tmp_path, barrage):
    job, outcome = ran(alike(tmp_path, "s", "s--000000"), tmp_path / "store")
    assert outcome.exit_code == 0 and list(verify(job, sample=4)) == []
    assert {line.cell: line.images for line in summaries.lines(batches(job.store))} == {"net-none-pgd": 2, "net-none-pgd--x": 2}
    code, out, _ = barrage("status", job.store, "--json")
    found = json.loads(out)
    assert code == 0 and {name: cell["done"] for name, cell in found["cells"].items()} == {
        "net-none-pgd": 2,
        "net-none-pgd--x": 2,
    }
    for shard, label in (("s", 0), ("s--000000", 1)):
        row = next(row for row in find(job.store, "a", shard=shard) if row["cell"] == "net-none-pgd")
        assert row["label"] == label and replay(job, row, torch.device("cpu")).differences == ()
        assert Images(job).unit(row).shard == shard
