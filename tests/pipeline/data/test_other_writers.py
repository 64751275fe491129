"""Shards and files as other programs write them: read as they mean them, or refused before any work."""

import json
import shutil
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from pipeline.campaigns.prepare import prepare
from pipeline.config.campaign import parse
from pipeline.data import index, shards
from pipeline.data.pack import pack
from pipeline.errors import BadInput
from tests.support import tiny
from tests.support.odd.shards import pair, tar

FOREIGN = {
    "wids": {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": [{"url": "a.tar", "nsamples": 1}], "name": "a"},
    "litdata": {
        "chunks": [{"chunk_bytes": 9, "chunk_size": 1, "filename": "chunk-0-0.bin"}],
        "config": {"data_format": ["int"]},
    },
    "mosaicml-streaming": {"version": 2, "shards": [{"format": "mds", "samples": 1}]},
}
"""What these programs write into an `index.json` beside their shards."""


@pytest.mark.parametrize("program", FOREIGN)
def test_the_index_of_another_program_is_passed_over_and_never_overwritten(tmp_path, program):
    (tmp_path / "index.json").write_text(json.dumps(FOREIGN[program]))
    (tmp_path / "a.tar").write_bytes(tar(*pair("a", 3)))
    assert index.read(str(tmp_path)) == {}
    assert (shards.inspect(tmp_path / "a.tar").images, shards.inspect(tmp_path / "a.tar").labels) == (1, (3, 3))
    (tmp_path / "x.png").write_bytes(tiny.picture(0))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=f"index.json is the index of {program}: choose another folder"):
        pack([(tmp_path / "x.png", 1)], tmp_path)
    assert sorted(tmp_path.iterdir()) == before and json.loads((tmp_path / "index.json").read_text()) == FOREIGN[program]


def campaign(folder, *data):
    """A campaign over shards of these contents."""
    for number, content in enumerate(data):
        (folder / f"x{number}.tar").write_bytes(content)
    return parse(tiny.campaign(f"{folder}/x*.tar"), "c.yaml")


BARE = tar(*[(f"train/cat/{i}.png", tiny.picture(i)) for i in range(3)])
"""A folder of torchvision's ImageFolder, packed by tar: no file holds a label."""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([BARE], "3 of 3 samples can't be used, train/cat/0 since no label: expected a small member train/cat/0.cls"),
        ([b"PK\3\4" + bytes(99)] * 2, "and all others: 1 of 1 samples can't be used, x0.tar#0 since .* compressed by zip"),
    ],
)
def test_shards_of_which_no_image_can_be_used_are_refused_before_any_work(tmp_path, data, why):
    """Such a campaign ran to its end, and its table said only how many had failed."""
    with pytest.raises(BadInput, match=f"shard .*x0.tar.*{why}"):
        prepare(campaign(tmp_path, *data), str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_one_good_image_is_enough_and_the_others_are_told(tmp_path):
    lines = []
    job = prepare(campaign(tmp_path, BARE, tar(*pair("a"))), str(tmp_path / "store"), lines.append)
    assert sum(job.images.values()) == 4 and [line for line in lines if "3 of 3 samples can't be used" in line]


@pytest.mark.parametrize("form", ["v7", "ustar", "oldgnu", "gnu", "posix"])
def test_gnu_tars_forms_and_its_incremental_archives_have_the_names_that_it_lists(tmp_path, form):
    if b"GNU tar" not in (subprocess.run(["tar", "--version"], capture_output=True).stdout if shutil.which("tar") else b""):
        pytest.skip("needs GNU tar")
    (tmp_path / "in").mkdir()
    for name, content in pair("in/a", 1) + pair("in/b", 2):
        (tmp_path / name).write_bytes(content)
    more = ["--listed-incremental=snapshot"] if form in ("oldgnu", "gnu") else []
    subprocess.run(["tar", f"--format={form}", *more, "-cf", "x.tar", "in"], cwd=tmp_path, check=True)
    names = subprocess.run(["tar", "-tf", "x.tar"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    shard = shards.inspect(tmp_path / "x.tar")
    found = shards.read(shard, range(shard.images))
    assert {sample.key for sample in found} == {name[:-4] for name in names if name.endswith(".cls")} == {"in/a", "in/b"}
    assert {sample.label for sample in found} == {1, 2}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz"])
def test_webdatasets_writer_is_read(tmp_path, name):
    with webdataset.TarWriter(str(tmp_path / name)) as file:
        for number in range(3):
            file.write({"__key__": f"in/{number}", "png": tiny.picture(number), "cls": number})
    shard = shards.inspect(tmp_path / name)
    assert [(s.key, s.label, s.image) for s in shards.read(shard, range(3))] == [
        (f"in/{i}", i, tiny.picture(i)) for i in range(3)
    ]


def test_packed_shards_are_read_by_webdataset(tmp_path, shards):
    files = sorted(str(path) for path in shards.glob("*.tar"))
    read = webdataset.WebDataset(files, shardshuffle=False).decode().to_tuple("__key__", "png", "cls", handler=None)
    assert [(key, label) for key, _, label in read] == [(f"image{i}", i) for i in range(8)]


KINDS = {
    "binary": pa.binary(), "large_binary": pa.large_binary(), "binary_view": getattr(pa, "binary_view", pa.binary)(),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [pa.string(), pa.large_string(), getattr(pa, "string_view", pa.string)(), pa.int8()], ids=str)
def test_every_kind_of_bytes_and_words_of_arrow_is_read(tmp_path, kind, words):
    """Polars writes large ones, DataFusion views, pandas dictionaries of categories."""
    images = [tiny.picture(i) for i in range(2)]
    column = pa.array(images).dictionary_encode() if kind == "dictionary" else pa.array(images, KINDS[kind])
    pq.write_table(pa.table({"image": column, "label": pa.array(["3", "4"]).cast(words)}), tmp_path / "x.parquet")
    found = shards.read(shards.inspect(tmp_path / "x.parquet"), range(2))
    assert [(sample.image, sample.label) for sample in found] == list(zip(images, (3, 4), strict=True))
