"""Stores in which the same name stands for another image or class are refused."""

import pytest

from pipeline import analysis
from pipeline.data import shards
from pipeline.data.pack import pack
from pipeline.errors import BadInput
from tests.support import tiny
from tests.support.stores import planted

RIGHT, WRONG = [(4, 4)] * 8, [(4, 0)] * 8


@pytest.fixture
def store(tmp_path):
    """Return a function that makes a store of one cell."""
    return lambda name, rights=RIGHT, **changes: planted.store(tmp_path / name, {"a": rights}, **changes)


def test_shards_of_the_same_hash_hold_the_same_images(store):
    said = analysis.comparison(store("one"), store("two", WRONG))
    assert said.adv.table == ((0, 8), (0, 0)) and said.warnings == []


def test_shards_of_another_hash_that_are_gone_are_refused(store):
    one, two = store("one"), store("two", sha256="1" * 64)
    with pytest.raises(BadInput) as said:
        analysis.comparison(one, two)
    assert str(said.value) == (
        f"shard val-000000 has other bytes in {one} (SHA-256 000000000000) than in {two} (111111111111), and its images cannot "
        "be read to compare them: compare stores whose campaigns read the same shards"
    )


def packed(folder, order, size=40):
    """Pack eight images in an order, and return their shard, keys and labels."""
    (folder / "images").mkdir(parents=True)
    files = []
    for i in order:
        path = folder / "images" / f"image{i}.png"
        path.write_bytes(tiny.picture(i, size))
        files.append((path, i % tiny.CLASSES))
    pack(files, folder / "shards", "photos", per_shard=8)
    shard = shards.inspect(folder / "shards" / "photos-000000.tar")
    samples = shards.listed(shard)
    return {"shard": shard.url, "sha256": shard.sha256, "keys": [s.key for s in samples], "labels": [s.label for s in samples]}


def test_shards_that_were_packed_anew_are_read(store, tmp_path):
    one, two = packed(tmp_path / "a", range(8)), packed(tmp_path / "b", reversed(range(8)))
    assert one["sha256"] != two["sha256"] and one["keys"] == two["keys"][::-1]
    said = analysis.comparison(store("one", **one), store("two", WRONG, **two))
    assert said.adv.images == 8 and said.warnings == []


def test_other_images_of_the_same_keys_are_refused(store, tmp_path):
    one, two = packed(tmp_path / "a", range(8)), packed(tmp_path / "b", range(8), size=41)
    assert one["keys"] == two["keys"]
    with pytest.raises(BadInput, match=r"and so has the image image0, with 7 more: the same keys are other images"):
        analysis.comparison(store("one", **one), store("two", **two))


def test_where_no_hash_is_kept_labels_agree_and_it_is_said(store):
    said = analysis.comparison(store("one"), store("two", sha256=""))
    assert said.warnings == ["no hash is kept of 1 shard, such as val-000000: labels agree, bytes could not be compared"]


def test_other_labels_are_refused(store):
    one, two = store("one"), store("two", labels=[0, 1, 2, 4, 3, 5, 6, 7])
    with pytest.raises(
        BadInput, match=r"the image i3 of shard val-000000 has the label 3 in .*one::.*, 4 in .*two::.*, with 1 more"
    ):
        analysis.comparison(one, two)


def test_other_names_of_a_class_are_told(store):
    place = "none/val-000000.tar"
    one = store("one", data={"shards": place, "classes": [f"c{i}" for i in range(8)]})
    two = store("two", data={"shards": place, "classes": ["c0", "cat", *(f"c{i}" for i in range(2, 8))]})
    assert analysis.comparison(one, two).warnings == [f"class 1 is 1 (c1) in {one}, 1 (cat) in {two}"]
    assert analysis.comparison(one, store("three")).warnings == []


@pytest.mark.parametrize("changes", [{"keys": [f"j{i}" for i in range(8)]}, {"shard": "none/other-000000.tar"}])
def test_no_image_in_common_is_refused(store, changes):
    with pytest.raises(
        BadInput, match=r"have no image in common: .*one::resnet50-bart2-a attacked 8 images of 1 shard, such as"
    ):
        analysis.comparison(store("one"), store("two", **changes))


def test_a_cell_whose_images_all_failed_has_none_in_common(store):
    with pytest.raises(BadInput, match="two::resnet50-bart2-a attacked 0 images of 0 shards"):
        analysis.comparison(store("one"), store("two", [None] * 8))


def test_one_shard_of_a_name_that_begins_another_is_told_apart(store):
    """Shards `x` and `x-1`: the images of one do not count as those of the other."""
    one, two = store("one", shard="none/x.tar"), store("two", shard="none/x-1.tar")
    with pytest.raises(BadInput, match="have no image in common"):
        analysis.comparison(one, two)
