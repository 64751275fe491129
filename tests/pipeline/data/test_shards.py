import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from pipeline.config.campaign import Data
from pipeline.data import pictures, shards
from pipeline.data.tars.writing import packed
from pipeline.errors import BadInput, ShardUnusable
from tests.support import tiny

BLOCK = 512


def tar(path, members):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def three(tmp_path):
    members = [(f"a{i}.{kind}", data) for i in range(3) for kind, data in (("cls", b"%d" % i), ("png", tiny.picture(i)))]
    return tar(tmp_path / "three.tar", members)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def test_a_whole_shard_gives_its_samples_in_order(three):
    shard = shards.inspect(three)
    assert (shard.images, shard.labels, shard.name) == (3, (0, 2), "three")
    found = shards.read(shard, range(1, 3))
    assert [(s.key, s.label, s.status) for s in found] == [("a1", 1, "ok"), ("a2", 2, "ok")]
    assert found[0].image == tiny.picture(1)


def boundaries(path):
    with tarfile.open(path) as file:
        return [(m.offset, m.offset_data, m.offset_data + m.size) for m in file]


@pytest.mark.parametrize("where", ["member boundary", "sample boundary", "header", "data", "end marker"])
def test_a_truncated_shard_ends_in_a_fault_and_never_in_silence(three, where):
    marks = boundaries(three)
    size = {
        "member boundary": marks[3][0],
        "sample boundary": marks[4][0],
        "header": marks[3][0] + 100,
        "data": (marks[3][1] + marks[3][2]) // 2,
        "end marker": (marks[5][2] + BLOCK - 1) // BLOCK * BLOCK,
    }[where]
    whole = {"end marker": 3, "sample boundary": 2}.get(where, 1)
    cut(three, size)
    shard = shards.inspect(three)
    found = shards.read(shard, range(shard.images))
    statuses = [s.status for s in found]
    assert statuses[:whole] == ["ok"] * whole and statuses[-1] != "ok"
    assert "truncated" in found[-1].error and found[-1].status == "bad_shard"
    assert len({s.key for s in found}) == len(found)


def test_the_index_knows_how_many_a_truncated_shard_lost(pattern, shards):
    from pipeline.data import shards as module

    path = shards / "photos-000000.tar"
    cut(path, boundaries(path)[4][0])
    shard = module.inspect(path)
    assert shard.images == 5
    assert [s.status for s in module.read(shard, range(5))] == ["ok", "ok", "bad_shard", "bad_shard", "bad_shard"]


def test_damaged_samples_keep_their_place(tmp_path):
    good = tiny.picture(0)
    path = tar(
        tmp_path / "bad.tar",
        [("a.png", good), ("b.png", good), ("b.cls", b"cat"), ("c.cls", b"3"), ("d.png", good[:99]), ("d.cls", b"1"),
         ("e.png", good), ("e.cls", b"7"), ("f.png", good), ("f.cls", b"-1")],
    )  # fmt: skip
    shard = shards.inspect(path)
    found = shards.read(shard, range(shard.images))
    assert [s.status for s in found] == ["bad_label", "bad_label", "bad_image", "ok", "ok", "bad_label"]
    assert shard.labels == (1, 7)
    with pytest.raises(ValueError, match="truncated|unexpected|cannot"):
        shards.decode(found[3].image, None, 32)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    good = tiny.picture(0)
    path = tar(tmp_path / "twice.tar", [("a.png", good), ("a.cls", b"1"), ("b.png", good), ("b.cls", b"1"), ("a.png", good)])
    with pytest.raises(BadInput, match="twice"):
        shards.inspect(path)


def test_a_shard_that_changed_is_noticed(three):
    shard = shards.inspect(three)
    data = bytearray(three.read_bytes())
    data[boundaries(three)[1][1] + 5] ^= 1
    three.write_bytes(data)
    with pytest.raises(ShardUnusable, match="SHA-256"):
        shards.read(shard, range(3))


def test_a_repacked_shard_is_not_the_one_of_the_index(shards):
    from pipeline.data import shards as module

    path = shards / "photos-000001.tar"
    tar(path, [("z.png", tiny.picture(9)), ("z.cls", b"1")])
    with pytest.raises(BadInput, match="not the one in"):
        module.inspect(path)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["none/x-{000000..000001}.tar"], "does not exist"),
        (["none/*.tar"], "match no file"),
        (["pipe:cat x.tar"], "expected a path or a URL"),
        (["ftp://host/x.tar"], "expected a path or a URL"),
        (["s3://key:secret@bucket/x.tar"], "holds credentials"),
        (["https://host/x.tar?signature=secret"], "holds credentials"),
    ],
)
def test_shards_that_are_not_there_are_refused(patterns, message):
    with pytest.raises(BadInput, match=message):
        shards.paths(Data(shards=patterns))


def test_two_shards_of_one_name_are_refused(tmp_path, three):
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / three.name
    copy.write_bytes(three.read_bytes())
    with pytest.raises(BadInput, match="two shards"):
        shards.paths(Data(shards=[str(three), str(copy)]))


def test_decode_resizes_the_shorter_side_and_cuts_the_centre():
    image = np.zeros((60, 100, 3), np.uint8)
    image[:, 40:60] = 255
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    found = shards.decode(buffer.getvalue(), None, 40)
    assert np.array_equal(found, image[10:50, 30:70].transpose(2, 0, 1))
    truth = np.asarray(Image.fromarray(image).resize((160, 96), Image.Resampling.BICUBIC))[8:88, 40:120]
    assert np.array_equal(shards.decode(buffer.getvalue(), 96, 80), truth.transpose(2, 0, 1))
    with pytest.raises(ValueError, match="smaller than the crop"):
        shards.decode(buffer.getvalue(), None, 61)


def test_an_image_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="more than 1000"):
        shards.decode(tiny.picture(0), None, 32)


def test_an_index_without_images_is_not_believed_unread(pattern, shards):
    """Else the images of that shard would be missing in silence: nothing else would ever read it."""
    from pipeline.data.shards import inspect

    path = shards / "index.json"
    entries = json.loads(path.read_text())
    (shards / "empty.tar").write_bytes(packed([]))
    found = inspect(shards / "empty.tar")
    empty = {"sha256": found.sha256, "bytes": found.bytes, "images": 0, "labels": [0, 0]}
    path.write_text(json.dumps(entries | {"empty.tar": empty}))
    assert inspect(shards / "empty.tar").images == 0
    name = min(entries)
    entries[name]["images"] = 0
    path.write_text(json.dumps(entries))
    with pytest.raises(BadInput, match=f"shard .*{name} is not the one in its index.json"):
        inspect(shards / name)
