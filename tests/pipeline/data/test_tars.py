import io
import tarfile

import pytest
import webdataset.tariterators

from pipeline.data import samples, shards
from pipeline.data.tars import members, stream
from pipeline.data.tars.writing import packed, unpacked
from pipeline.errors import BadInput, ShardUnusable
from tests.support.odd.shards import GOOD, LINK, LONG, SHARDS, bare, pair, tar


def written(folder, data, name="x.tar"):
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("name", SHARDS)
def test_a_shard_of_any_kind_gives_its_samples_or_rows_with_a_reason(tmp_path, name):
    odd = SHARDS[name]
    shard = shards.inspect(written(tmp_path, odd.data))
    found = shards.read(shard, range(shard.images))
    assert [(s.key, s.label, s.status) for s in found] == odd.samples
    assert shard.images == len(found) and all(bool(s.error) == (s.status != "ok") for s in found)
    assert all(s.image == GOOD for s in found if s.status == "ok")
    for place in range(shard.images):  # what was asked for alone is what comes among the others
        assert shards.read(shard, [place]) == [found[place]]


def test_a_regular_shard_is_read_as_webdataset_reads_it(tmp_path):
    data = tar(*pair("b/x"), *pair("a", 2), ("c.json", b"{}"), *pair("c", 3, "JPG"), ("__meta__/v.png", b"x"))
    shard = shards.inspect(written(tmp_path, data))
    files = webdataset.tariterators.tar_file_iterator(io.BytesIO(data))
    theirs = webdataset.tariterators.group_by_keys(file | {"__url__": ""} for file in files)
    truth = [(s["__key__"], s.get("png") or s["jpg"], int(s["cls"])) for s in theirs]
    assert [(s.key, s.image, s.label) for s in shards.read(shard, range(9))] == truth


def test_what_is_passed_over_is_counted_and_said(tmp_path):
    said = []
    data = tar(("a.seg.png", GOOD), ("a.json", b"{}"), *pair("a"), ("b.json", b"{}"), *pair("b", 2), ("README", b"x"))
    shards.inspect(written(tmp_path, data), said.append)
    assert [line.partition(": ")[2] for line in said] == [
        "2 samples; passed over: 2 .json, 1 .png, 1 file without key or ending"
    ]
    shards.inspect(written(tmp_path, tar(*pair("a")), "y.tar"), said.append)
    assert len(said) == 1


def test_a_file_that_stands_twice_is_refused_with_the_right_advice(tmp_path):
    path = written(tmp_path, tar(*pair("a")) + tar(*pair("a", 2)))
    with pytest.raises(BadInput, match=r"x.tar holds 'a.png' twice: give each sample a key of its own"):
        shards.inspect(path)


def test_memory_holds_no_image_that_was_not_asked_for(tmp_path, monkeypatch):
    """Also where links and late labels make a second pass needed."""
    links = [(f"l{i}.{kind}", f"k{i}.{kind}", LINK) for i in range(9) for kind in ("png", "cls")]
    data = tar(*(member for i in range(9) for member in pair(f"k{i}", i)), *links)
    shard, held = shards.inspect(written(tmp_path, data)), []
    scan = samples.scan

    def watched(*arguments):
        held.append(scan(*arguments))
        return held[-1]

    monkeypatch.setattr(samples, "scan", watched)
    assert [(s.key, s.label) for s in shards.read(shard, [13])] == [("l4", 4)]
    assert sum(len(data) for contents in held[1:] for data in contents.kept.values()) < 2 * len(GOOD)


def test_a_shard_that_changes_between_two_passes_is_noticed(tmp_path, monkeypatch):
    path = written(tmp_path, tar(*pair("a"), ("b.png", "a.png", LINK), ("b.cls", "a.cls", LINK)))
    shard, scan, calls = shards.inspect(path), samples.scan, []

    def changing(*arguments):
        calls.append(1)
        if len(calls) == 2:
            written(tmp_path, path.read_bytes().replace(GOOD[:20], b"x" * 20))
        return scan(*arguments)

    monkeypatch.setattr(samples, "scan", changing)
    with pytest.raises(ShardUnusable, match="changed while it was read"):
        shards.read(shard, [1])


@pytest.mark.parametrize("block", [1, 511, 512, 513, 10_240])
def test_zeros_between_tars_are_passed_over_whatever_their_number(tmp_path, block, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 2048)
    shard = shards.inspect(written(tmp_path, bare(tar(*pair("a"))) + bytes(block * 512) + tar(*pair("b", 2))))
    assert [s.key for s in shards.read(shard, range(9))] == ["a", "b"]


def test_attributes_that_pile_up_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "MAX_HEADER", 5000)
    parts = []
    for i in range(9):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={f"K{i}": "v" * 1000}) as file:
            file.addfile(tarfile.TarInfo(f"{i}.png"))
        parts.append(bare(buffer.getvalue()))
    shard = shards.inspect(written(tmp_path, b"".join(parts) + bytes(1024)))
    assert "attributes of more than 5000 bytes" in shards.read(shard, range(9))[-1].error


def test_long_names_are_written_and_other_files_keep_their_bytes():
    files = [("a.png", b"1"), ("图" * 30 + ".png", b"2"), (f"{'d' * 90}/{'x' * 90}.png", b"3")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    assert packed(files) == buffer.getvalue()
    long = [*files, (f"{LONG}.png", b"4"), ("图" * 40 + ".png", b"5")]
    assert unpacked(packed(long)) == dict(long)
    assert packed(long).startswith(packed(files)[: 3 * 1024])


def test_a_damaged_tar_of_examples_is_one_kind_of_error():
    for data in (b"", b"x" * 1024, packed([("a.png", b"1")])[:600]):
        with pytest.raises(ValueError, match="no whole tar"):
            unpacked(data)
