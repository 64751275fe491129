"""Images that are not packed: a folder, a table, Parquet, arrays. Each gives the rows that packed shards give."""

import csv
import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.campaigns.job import opened
from pipeline.campaigns.verification.verify import verify
from pipeline.config.campaign import Data, parse
from pipeline.data import shards
from pipeline.data.pack import labelled, pack
from pipeline.data.sources import arrays, files
from pipeline.data.sources.generated import Generated
from pipeline.data.tars.writing import packed
from pipeline.errors import BadInput, ShardUnusable
from tests.support import tiny
from tests.support.campaigns import ROUNDED, ran, rows

COUNT = 7
PIXELS = np.stack([np.asarray(Image.open(io.BytesIO(tiny.picture(i)))) for i in range(COUNT)])
LABELS = [i % 3 for i in range(COUNT)]


@pytest.fixture
def photos(tmp_path):
    """A folder of three classes, whose images are the same as those of every other source."""
    for i, label in enumerate(LABELS):
        path = tmp_path / "photos" / "abc"[label] / f"{i:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny.picture(i))
    return tmp_path / "photos"


def hugging_face(path, images="image", labels="label", names=True):
    cells = [{"bytes": tiny.picture(i), "path": f"{i:06d}.png" if names else None} for i in range(COUNT)]
    pq.write_table(pa.table({images: cells, "other": [1] * COUNT, labels: LABELS}), path, row_group_size=3)


def sources(folder, photos):
    """Write every kind of source; return {kind: data section}."""
    listed = sorted(photos.glob("*/*.png"))
    with (folder / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label"), *((p.relative_to(folder), "abc".index(p.parent.name)) for p in listed)])
    paths = pa.table(
        {"path": [str(p.relative_to(folder)) for p in listed], "label": ["abc".index(p.parent.name) for p in listed]}
    )
    pq.write_table(paths, folder / "paths.parquet")
    hugging_face(folder / "hf.parquet")
    np.savez_compressed(folder / "both.npz", x=PIXELS, y=np.array(LABELS))
    np.save(folder / "test_data.npy", PIXELS.transpose(0, 3, 1, 2).copy())
    np.save(folder / "test_labels.npy", np.array(LABELS, np.uint8)[:, None])
    return {
        "folder": {"folder": str(photos)}, "csv": {"table": str(folder / "photos.csv")},
        "table": {"table": str(folder / "paths.parquet")}, "parquet": {"shards": str(folder / "hf.parquet")},
        "npz": {"shards": str(folder / "both.npz")}, "npy": {"shards": str(folder / "test_data.npy")},
    }  # fmt: skip


def test_every_kind_gives_the_rows_of_packed_shards(tmp_path, photos, monkeypatch):
    """Draws belong to an image's shard and key, so the packed shards have the names of the source's."""
    monkeypatch.setattr(files, "PER_SHARD", 4)
    pack(labelled(photos, "folder").images, tmp_path / "shards", per_shard=4)
    (whole,) = pack(labelled(photos, "folder").images, tmp_path / "whole")
    grid = [{"model": "net", "defense": "bart2", "attack": "pgd"}]
    data = {"resize": None, "crop": 32}
    content = tiny.campaign("", data=data, cells=grid)

    def truth(shards, store):
        ran(content | {"data": data | {"shards": str(shards)}}, tmp_path / store)
        found = rows(tmp_path / store, {"unit", *ROUNDED})
        assert len(found) == COUNT and {row["status"] for row in found.values()} == {"ok"}
        return found

    cut = truth(tmp_path / "shards/*.tar", "packed")
    for kind, given in sources(tmp_path, photos).items():
        job, outcome = ran(content | {"data": data | given}, tmp_path / kind)
        found = rows(job.store, {"unit", *ROUNDED})
        assert outcome.exit_code == 0 and list(verify(job, sample=3)) == [], kind
        if "shards" in given:
            named = shutil.copy(whole, (tmp_path / "whole" / Path(given["shards"]).stem).with_suffix(".tar"))
        assert found == (truth(named, f"packed-{kind}") if "shards" in given else cut), kind
        assert opened(job.store).campaign.data.model_dump() == job.campaign.data.model_dump()


def test_a_folder_is_the_tar_that_pack_would_write(tmp_path, photos):
    (path,) = pack(labelled(photos, "folder").images, tmp_path / "shards")
    (url,) = shards.paths(Data(folder=str(photos)))
    kept, made = shards.inspect(path), shards.inspect(url)
    assert (made.sha256, made.images, made.labels, made.name) == (kept.sha256, COUNT, (0, 2), "images-000000")
    assert shards.classes(Data(folder=str(photos)), [url]) == ["a", "b", "c"]
    assert shards.read(made, [1, 5]) == shards.read(kept, [1, 5])


def test_a_folder_is_cut_into_shards_and_says_what_it_passes_over(photos, monkeypatch):
    monkeypatch.setattr(files, "PER_SHARD", 3)
    (photos / "a" / "note.txt").write_text("x")
    said = []
    found = [shards.inspect(url) for url in shards.paths(Data(folder=str(photos)), said.append)]
    assert [(shard.name, shard.images) for shard in found] == [(f"images-00000{i}", n) for i, n in enumerate((3, 3, 1))]
    assert said == ["passed over: files with the ending .txt (1): note.txt"]
    keys = [sample.key for shard in found for sample in shards.read(shard, range(3))]
    assert keys == [file.stem for file in sorted(photos.glob("*/*.png"))]


def test_a_file_that_changes_after_it_was_listed_is_noticed(photos):
    (url,) = shards.paths(Data(folder=str(photos)))
    shard = shards.inspect(url)
    (photos / "a" / "000000.png").write_bytes(tiny.picture(99))
    with pytest.raises(ShardUnusable, match="has SHA-256"):
        shards.read(shard, [1])
    (photos / "a" / "000000.png").unlink()
    with pytest.raises(ShardUnusable, match="000000.png cannot be read: No such file"):
        shards.read(shard, [1])


@pytest.mark.parametrize("step", [1, 7, 512, 100_000, -1])
def test_a_generated_tar_is_the_packed_one_in_whatever_pieces_it_is_read(step):
    members = [("a.png", b"x" * 700), ("图" * 40 + ".cls", b""), ("b.png", b"y" * 512)]
    stream, parts = Generated(members), []
    while part := stream.read(step):
        parts.append(part)
    assert b"".join(parts) == packed(members) and all(len(part) == step for part in parts[:-1] if step > 0)


@pytest.mark.parametrize(("given", "said"), [
    ({}, "has no images: give one of shards, folder and table"),
    ({"folder": "x", "shards": "y.tar"}, "has shards and folder: give one of"),
])  # fmt: skip
def test_one_source_is_given(given, said):
    with pytest.raises(BadInput, match=said):
        parse(tiny.campaign("", data=given), "c")


def test_a_table_that_names_what_is_not_there_is_one_line(tmp_path, photos):
    table = tmp_path / "t.csv"
    for text, said in (
        ("gone.png,1\n", "names .*gone.png, which is no file: correct the path"),
        ("/gone/a.png,1\n", "names /gone/a.png, which is no file"),
        (f"{'a' * 5000}.png,1\n", "names .*aaa, which is no file"),
        ("", "names no image"),
        ("a,b\n", "'b' is no"),
    ):
        table.write_text(text)
        with pytest.raises(BadInput, match=said):
            shards.paths(Data(table=str(table)))
    pq.write_table(pa.table({"path": ["x"], "other": [1]}), tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="has no column"):
        shards.paths(Data(table=str(tmp_path / "t.parquet")))
    (tmp_path / "t.parquet").write_bytes(b"no")
    with pytest.raises(BadInput, match="is no whole Parquet file"):
        shards.paths(Data(table=str(tmp_path / "t.parquet")))
    for data in (Data(table=str(tmp_path / "gone.csv")), Data(table=str(tmp_path / "gone.parquet")), Data(folder="gone")):
        with pytest.raises(BadInput, match="gone"):
            shards.paths(data)


def test_a_table_may_name_files_of_any_ending_by_any_path(tmp_path, photos):
    """What a file is is seen when it is decoded; what is no image is a row with a reason."""
    (tmp_path / "noend").write_bytes(tiny.picture(7))
    (tmp_path / "x.gif").write_bytes(b"GIF89a")
    table = tmp_path / "photos" / "t.csv"
    table.write_text(f"a/000000.png,5\n../noend,6\n{tmp_path}/x.gif,7\n")
    (url,) = shards.paths(Data(table=str(table)))
    found = shards.read(shards.inspect(url), range(3))
    assert [(s.key, s.label, s.status) for s in found] == [("000000", 5, "ok"), ("noend", 6, "ok"), ("x", 7, "ok")]
    assert np.array_equal(shards.decode(found[1].image, None, 40), shards.decode(tiny.picture(7), None, 40))
    with pytest.raises(ValueError, match="the bytes are no"):
        shards.decode(found[2].image, None, 32)


def test_a_folder_in_place_of_shards_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="is a folder: name the files in it, .*, or give `folder` instead"):
        shards.paths(Data(shards=[str(tmp_path)]))


# Parquet


def test_rows_of_parquet_without_names_are_numbered_and_nulls_are_rows_with_a_reason(tmp_path):
    hugging_face(tmp_path / "x.parquet", "img", "fine_label", names=False)
    shard = shards.inspect(tmp_path / "x.parquet")
    assert [s.key for s in shards.read(shard, [0, 6])] == ["000000", "000006"]
    table = pa.table({"image": [{"bytes": tiny.picture(0)}, None, {"bytes": None}], "label": [None, 1, 2]})
    pq.write_table(table, tmp_path / "y.parquet")
    found = shards.read(shards.inspect(tmp_path / "y.parquet"), range(3))
    assert [(s.key, s.status, len(s.image) > 0) for s in found] == [
        ("000000", "bad_label", False), ("000001", "ok", False), ("000002", "ok", False)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="the bytes are no"):
        shards.decode(found[1].image, None, 32)


@pytest.mark.parametrize(("held", "labels", "said"), [
    (["a.png"], [1], "the column image is string: expected the bytes"), ([[[1, 2]]], [1], "the column image is list"),
    ([{"path": "a.png"}], [1], "the column image is struct"), ([b"x"], [1.0], "the column label is double: expected whole"),
    ([b"x"], [True], "the column label is bool"), ([b"x"], [[1]], "the column label is list"),
])  # fmt: skip
def test_columns_that_hold_something_else_are_one_line(tmp_path, held, labels, said):
    pq.write_table(pa.table({"image": held, "label": labels}), tmp_path / "x.parquet")
    with pytest.raises(BadInput, match=f"x.parquet: {said}"):
        shards.inspect(tmp_path / "x.parquet")


def test_parquet_of_another_layout_or_damaged_is_one_line(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"picture": [b"x"], "label": [1]}), path)
    with pytest.raises(BadInput, match="has no column image or img: it has picture, label"):
        shards.inspect(path)
    hugging_face(path)
    whole = path.read_bytes()
    for data in (whole[:-20], whole[: len(whole) // 2], b""):
        path.write_bytes(data)
        with pytest.raises(BadInput, match="is no whole Parquet file of images"):
            shards.inspect(path)


# Arrays


def save(folder, **content):
    np.savez(folder / "x.npz", **content)
    return folder / "x.npz"


def test_grey_arrays_and_labels_of_any_whole_type_are_read(tmp_path):
    grey = PIXELS[..., 0].copy()
    shard = shards.inspect(save(tmp_path, images=grey, labels=np.array(LABELS, np.int8)))
    found = shards.read(shard, range(COUNT))
    assert [s.label for s in found] == LABELS
    assert np.array_equal(shards.decode(found[3].image, None, 40), np.repeat(grey[3][None], 3, 0))


@pytest.mark.parametrize(("content", "said"), [
    ({"x": PIXELS}, "it holds x uint8"), ({"x": PIXELS / 255, "y": LABELS}, "it holds x float64"),
    ({"x": PIXELS, "y": LABELS[1:]}, r"labels int64 \(6,\)"), ({"x": PIXELS, "x2": PIXELS, "y": LABELS}, "it holds x"),
    ({"x": np.asfortranarray(PIXELS), "y": LABELS}, "order of Fortran"), ({}, "it holds no array"),
    ({"x": np.array([{}, {}], object), "y": LABELS}, "object"),
])  # fmt: skip
def test_arrays_that_are_no_images_and_labels_are_one_line(tmp_path, content, said):
    with pytest.raises(BadInput, match=f"{said}.*expected images"):
        shards.inspect(save(tmp_path, **content))


def test_damaged_arrays_and_labels_that_are_not_there_are_one_line(tmp_path):
    path = save(tmp_path, x=PIXELS, y=LABELS)
    whole = path.read_bytes()
    for data in (whole[:5000], b"", b"PK\3\4" * 9, whole[:3000] + bytes(5) + whole[3005:]):
        path.write_bytes(data)
        with pytest.raises(BadInput, match="expected images"):
            shards.inspect(path)
    np.save(tmp_path / "a.npy", PIXELS)
    with pytest.raises(BadInput, match=r"a.npy has no labels: expected a_labels.npy or labels.npy beside it"):
        shards.inspect(tmp_path / "a.npy")
    np.save(tmp_path / "labels.npy", np.array(LABELS))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-9])
    with pytest.raises(BadInput, match="it ends too early"):
        shards.inspect(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"\x01\x00" + struct.pack("<H", 9) + b"{'shape':", "its header is damaged"),
        (b"\x01\x00" + struct.pack("<H", 9) + b"(((((((((", "its header is damaged"),
        (b"\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{", "a header of 4294967295 bytes"),
    ],
)
def test_an_array_whose_header_is_none_is_one_line_and_takes_no_memory(tmp_path, header, said):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY" + header)
    np.save(tmp_path / "labels.npy", np.array(LABELS))
    with pytest.raises(BadInput, match=f"{said}.*expected images"):
        shards.inspect(tmp_path / "a.npy")


def test_labels_that_lie_in_a_row_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"y int64 \(1, 7\)"):
        shards.inspect(save(tmp_path, x=PIXELS, y=np.array([LABELS])))


def test_a_negative_label_and_one_beyond_the_model_are_rows(tmp_path):
    found = shards.read(shards.inspect(save(tmp_path, x=PIXELS[:2], y=np.array([-1, 5]))), range(2))
    assert [(s.status, s.label) for s in found] == [("bad_label", -1), ("ok", 5)]


def test_arrays_are_streamed(tmp_path, monkeypatch):
    """One image at a time, whatever the size of the file."""
    sizes, ppm = [], arrays._ppm

    def watched(image):
        sizes.append(image.nbytes)
        return ppm(image)

    monkeypatch.setattr(arrays, "_ppm", watched)
    shards.inspect(save(tmp_path, x=PIXELS, y=LABELS))
    assert sizes == [PIXELS[0].nbytes] * COUNT
