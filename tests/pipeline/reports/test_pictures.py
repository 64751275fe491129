"""Single images of shards of every kind beside a whole read, stored examples beside Pillow, values kept for many threads."""

import gzip
import io
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.campaigns.job import opened
from pipeline.data import shards, single
from pipeline.data.tars import writing
from pipeline.errors import BadInput, ShardUnusable
from pipeline.reports.pictures import OF_A_PICTURE, Images, Kept, png, sheet
from pipeline.storage import urls
from pipeline.store.rows import results
from tests.support import tiny


def alone(shard):
    """Every image of a shard, read alone."""
    listing = single.listing(shard)
    return {key: single.image(shard, sample, listing.folded) for key, sample in listing.samples.items() if sample.at}


def whole(shard):
    return {sample.key: sample.image for sample in shards.read(shard, range(shard.images)) if sample.image}


def kinds_of_shards(packed, folder):
    """The same images as a tar, gzipped twice over, as a tar with links, two tars in one file, Parquet, NumPy and a folder."""
    tar = (packed / "shards" / "photos-000000.tar").read_bytes()
    (folder / "plain.tar").write_bytes(tar)
    (folder / "folded.tar.gz").write_bytes(gzip.compress(tar))
    (folder / "folded-unsaid.tar").write_bytes(gzip.compress(tar))
    other = writing.packed([("z.png", tiny.picture(99)), ("z.cls", b"1")])
    (folder / "two.tar").write_bytes(tar + other)
    images = [tiny.picture(i) for i in range(3)]
    pq.write_table(pa.table({"image": pa.array(images), "label": [0, 1, 2]}), folder / "some.parquet")
    np.savez(folder / "some.npz", images=np.stack([np.asarray(Image.open(io.BytesIO(i))) for i in images]), labels=np.arange(3))
    (folder / "files" / "a").mkdir(parents=True)
    (folder / "files" / "a" / "one.png").write_bytes(images[0])
    names = ["plain.tar", "folded.tar.gz", "folded-unsaid.tar", "two.tar", "some.parquet", "some.npz"]
    return [str(folder / name) for name in names] + [str(folder / "files" / "images-000000.folder")]


def test_an_image_read_alone_is_that_of_the_whole_shard(packed, tmp_path):
    for url in kinds_of_shards(packed, tmp_path):
        shard = shards.inspect(url)
        assert len(whole(shard)) == shard.images > 0
        assert alone(shard) == whole(shard), url
        assert single.version(shard) == single.version(shard)


def test_odd_members_are_read_alone_as_in_the_whole(tmp_path):
    """Long names in extended headers, keys that are no plain text, a label that is none, an image that is missing."""
    long = "folder/" + "n" * 200
    files = [
        (f"{long}.png", tiny.picture(1)), (f"{long}.cls", b"1"), ("ü.jpg", tiny.picture(2)), ("ü.cls", b"2"),
        ("wrong.png", tiny.picture(3)), ("wrong.cls", b"cat"), ("bare.cls", b"1"), ("<b>.png", b"no image"), ("<b>.cls", b"0"),
    ]  # fmt: skip
    (tmp_path / "odd.tar").write_bytes(writing.packed(files))
    found = alone(shards.inspect(tmp_path / "odd.tar"))
    assert found == {key.rpartition(".")[0]: data for key, data in files if not key.endswith(".cls")}


def test_a_tar_is_read_by_the_place_of_an_image_alone(packed, monkeypatch):
    """Once it is listed: of its file no more than the image's own bytes."""
    shard = shards.inspect(packed / "shards" / "photos-000000.tar")
    listing = single.listing(shard)
    read, part = [], single.part

    def noting(file, begin, size):
        read.append(file)
        return part(file, begin, size)

    monkeypatch.setattr(single, "part", noting)
    sample = listing.samples["image3"]
    assert single.image(shard, sample, False) == whole(shard)["image3"]
    (file,) = read
    assert file.closed and sample.at[1] < 4000 < shard.bytes
    with open(shard.url, "rb") as opened_file:
        part(opened_file, *sample.at)
        assert opened_file.raw.tell() == sum(sample.at)


def test_of_a_tar_in_a_bucket_one_request_reads_one_image(s3):
    random = np.random.default_rng(0)
    files = [
        (f"{i}.{ending}", random.bytes(300_000) if ending == "png" else b"1") for i in range(5) for ending in ("png", "cls")
    ]
    assert urls.at(f"{s3.url}/val").create("large.tar", writing.packed(files))
    shard = shards.inspect(f"{s3.url}/val/large.tar")
    listing = single.listing(shard)
    s3.proxy.heard.clear()
    assert single.image(shard, listing.samples["3"], listing.folded) == dict(files)["3.png"]
    ((request, _),) = s3.proxy.heard
    begin, end = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
    assert end - begin + 1 == 300_000


def test_a_shard_that_changed_is_refused(packed, tmp_path):
    path = tmp_path / "photos-000000.tar"
    shutil.copy(packed / "shards" / "photos-000000.tar", path)
    shard, before = shards.inspect(path), path.read_bytes()
    version = single.version(shard)
    path.write_bytes(before[:600] + bytes([before[600] ^ 1]) + before[601:])
    with pytest.raises(ShardUnusable, match="has SHA-256 .* planned was .*restore it"):
        single.listing(shard)
    time.sleep(0.01)
    path.write_bytes(before)
    assert single.version(shard) != version
    path.write_bytes(before + bytes(512))
    with pytest.raises(ShardUnusable, match=f"has {len(before) + 512} bytes, planned were {len(before)}: restore it"):
        single.version(shard)
    path.unlink()
    with pytest.raises(ShardUnusable, match="it is not there; restore it"):
        single.version(shard)


def test_places_in_a_tar_are_where_its_bytes_are():
    files = {"a.png": b"x" * 700, "b" * 300 + ".png": b"y" * 10, "c.cls": b"7"}
    tar = writing.packed(files.items())
    found = writing.places(io.BytesIO(tar))
    assert {name: tar[begin : begin + size] for name, (begin, size) in found.items()} == files
    with pytest.raises(ValueError, match="no whole tar"):
        writing.places(io.BytesIO(b"nothing like it" * 100))


def test_pictures_are_pillows_own(finished):
    store = str(finished())
    job = opened(store)
    images, count = Images(job), 0
    for row in results(store, OF_A_PICTURE).to_pylist():
        example = images.example(row)
        clean = Image.open(io.BytesIO(tiny.picture(int(row["image_key"].removeprefix("image"))))).convert("RGB")
        clean = clean.crop((4, 4, 36, 36))  # 40 px, cropped to 32
        assert np.array_equal(example.clean, np.asarray(clean).transpose(2, 0, 1))
        tar = (finished() / "adversarial" / f"cell={row['cell']}" / f"{row['unit']}.tar").read_bytes()
        stored = Image.open(io.BytesIO(writing.unpacked(tar)[f"{row['image_key']}.png"]))
        assert np.array_equal(example.adversarial, np.asarray(stored).transpose(2, 0, 1))
        again = Image.open(io.BytesIO(png(example.adversarial)))
        assert again.mode == "RGB" and np.array_equal(np.asarray(again), np.asarray(stored))
        count += 1
    assert count == 16


def test_a_row_of_another_store_is_refused(finished):
    images, row = Images(opened(str(finished()))), results(str(finished()), OF_A_PICTURE).to_pylist()[0]
    for change, said in (
        ({"cell": "other"}, "cell other is none of the store"),
        ({"unit": "net-none-pgd--photos-000001--000000-000003"}, "unit .* is none of store"),
        ({"unit": "../../../etc/passwd"}, "unit ../../../etc/passwd is none of store"),
        ({"unit": None}, "unit None is none of store"),
    ):
        with pytest.raises(BadInput, match=said):
            images.adversarial(row | change)
    with pytest.raises(BadInput, match="shard elsewhere is none of the store"):
        images.clean(row | {"shard": "elsewhere"})


def test_several_images_are_one_sheet():
    images = torch.arange(5).float().view(5, 1, 1, 1).expand(5, 3, 2, 4) / 255
    found = sheet(images)
    assert found.shape == (3, 4, 12) and found[0, ::2, ::4].tolist() == [[0, 1, 2], [3, 4, 255]]
    assert sheet(torch.tensor([-0.5, 0.5, 2, float("nan")]).view(1, 1, 1, 4).expand(1, 3, 1, 4))[0].tolist() == [
        [0, 128, 255, 0]
    ]


def test_what_is_kept_is_the_latest_used_up_to_its_weight():
    kept, made = Kept[bytes](10, len), []

    def get(name, size=4):
        def make():
            made.append(name)
            return bytes(size)

        return kept.get(name, make)

    for name in ("a", "b", "a", "c", "a", "b"):  # of three, two have room: b was used least when c came
        get(name)
    assert made == ["a", "b", "c", "b"]
    assert len(get("huge", 11)) == 11 and get("a") and made[-2:] == ["huge", "a"]


def test_threads_make_a_value_once_and_do_not_wait_for_another():
    kept, made, begun, go = Kept[int](10), [], threading.Event(), threading.Event()

    def slow():
        made.append(1)
        begun.set()
        assert go.wait(20)
        return 7

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(kept.get, "slow", slow)
        assert begun.wait(20)
        second = pool.submit(kept.get, "slow", slow)
        assert pool.submit(kept.get, "other", lambda: 3).result(20) == 3 and not first.done()
        go.set()
        assert first.result(20) == second.result(20) == 7 and made == [1]


def test_what_could_not_be_made_is_tried_again():
    kept, tries = Kept[int](10), []

    def fails():
        tries.append(1)
        raise BadInput("no")

    for _ in range(2):
        with pytest.raises(BadInput, match="no"):
            kept.get("a", fails)
    assert len(tries) == 2 and kept.get("a", lambda: 5) == 5
