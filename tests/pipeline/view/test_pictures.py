"""Pictures beside Pillow's own decoding and what the judged model got: for one thread or many, in a bucket, as files."""

import io
import json
import tarfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bart import judge
from pipeline.campaigns import image_keys
from pipeline.campaigns.attempt.bench import Bench
from pipeline.config.defenses import DEFENSES
from pipeline.data import guarded, single
from pipeline.data.pack import pack
from pipeline.errors import BadInput
from pipeline.reports.pictures import in_8_bits, seen, sheet
from pipeline.store.rows import results
from pipeline.view.pictures import COLUMNS, Key, Pictures
from tests.support import tiny
from tests.support.campaigns import of_kind, ran
from tests.support.source.pages import ROOT
from tests.support.stores.pictures import WHATS, clean, keys_of, pixels, said, stored

VALIDATION = ROOT.parent / "shared" / "data" / "imagenet-val" / "imagenet-val-000000.tar"

INSIDE = ("feature_noise", "dropout")
"""The kinds that act inside the model."""


def test_pictures_are_those_of_the_shard_and_of_the_store(finished):
    store = finished()
    pictures = Pictures(str(store))
    for row in results(str(store), COLUMNS).to_pylist():
        key = Key(row["cell"], row["shard"], row["image_key"])
        assert np.array_equal(pixels(pictures.png(key, "clean")), clean(key))
        assert np.array_equal(pixels(pictures.png(key, "adversarial")), stored(store, row))
        change = stored(store, row).astype(int) - clean(key)
        magnified = pictures.draws(key)["magnified"]
        assert magnified == 127 / np.abs(change).max()
        assert np.abs(pixels(pictures.png(key, "difference")) - (128 + magnified * change)).max() <= 0.5


@pytest.mark.parametrize("kind", DEFENSES.builtin)
def test_a_draw_is_what_the_judged_model_got_bit_for_bit(kind, tmp_path, pattern):
    """The judge runs all draws of all images in one stack, and a hook on the model notes what comes in."""
    job, _ = ran(of_kind(pattern, kind), tmp_path / "store")
    (cell,) = job.cells.values()
    pictures = Pictures(job.store)
    rows = results(job.store, COLUMNS).to_pylist()
    defended = Bench(job, torch.device("cpu"), threading.Event()).defended(cell)
    for side, column, images in (
        ("clean", "clean_top5", [clean(Key(cell.name, row["shard"], row["image_key"])) for row in rows]),
        ("adversarial", "adv_top5", [stored(job.store, row) for row in rows]),
    ):
        given, got = torch.from_numpy(np.ascontiguousarray(np.stack(images))), []
        names = [(row["shard"], row["image_key"]) for row in rows]
        keys = image_keys.to_judge(cell, names)
        judge(defended, given, keys, 3, stack=12)  # code of others is tried out first
        hook = defended.classifier.register_forward_pre_hook(lambda module, inputs, got=got: got.append(inputs[0].clone()))
        verdict = judge(defended, given, keys, 3, stack=12)
        hook.remove()
        assert verdict.top5.tolist() == [row[column] for row in rows]
        every = torch.cat(got).unflatten(0, (len(rows), 3, -1))
        for row, name, image, of_image in zip(rows, names, given, every, strict=True):
            key = Key(row["cell"], *name)
            for draw, met in enumerate(of_image):
                if kind in INSIDE:
                    assert torch.equal(met[0], image.float() / 255)
                    with pytest.raises(BadInput, match=f"defense mine \\({kind}\\) acts inside the model"):
                        pictures.png(key, f"{side}-draw-{draw}")
                    continue
                assert torch.equal(seen(cell, name, image.numpy(), draw), met)
                assert np.array_equal(pixels(pictures.png(key, f"{side}-draw-{draw}")), sheet(met))
                assert len(met) > 1 or np.array_equal(sheet(met), in_8_bits(met[0]))


@pytest.mark.parametrize("kind", DEFENSES.builtin)
def test_draws_are_those_of_the_row_as_plain_values(kind, tmp_path, pattern):
    job, _ = ran(of_kind(pattern, kind, data={"shards": pattern, "resize": None, "crop": 32, "limit": 1}), tmp_path / "store")
    (row,) = results(job.store, COLUMNS).to_pylist()
    found = Pictures(job.store).draws(Key(row["cell"], row["shard"], row["image_key"]))
    assert json.loads(json.dumps(found)) == found and found["problem"] is None
    for side, column in (("clean", "clean_top5"), ("adversarial", "adv_top5")):
        assert [draw["draw"] for draw in found[side]] == [0, 1, 2]
        assert [draw["classes"] for draw in found[side]] == row[column]
        assert [draw["right"] for draw in found[side]] == [five[0] == row["label"] for five in row[column]]
        assert all(draw["names"] == [str(label) for label in draw["classes"]] for draw in found[side])
    parts = [draw["parts"] for draw in found["adversarial"]]
    assert parts == [draw["parts"] for draw in found["clean"]]
    words = {
        "barrage": {"color_precision", "grey_mix", "grey_one_channel"},
        "crop_ensemble": {"crop 1", "crop 2"},
        "compose": {"gaussian", "color_precision", "grey_mix"},
        "purifier": {"random module"}, "module": {"random module"}, "tv": {"total variation"},
    }.get(kind, {kind.replace("_", " ")})  # fmt: skip
    assert all(set(names) <= words and names for names in parts) or (kind in INSIDE and parts == [[], [], []])
    settings = [draw["settings"] for draw in found["clean"]]
    if kind == "jpeg":
        assert all(50 <= one["quality"] <= 90 for (one,) in settings) and len({one["quality"] for (one,) in settings}) > 1
    if kind == "barrage":
        for names, values in zip(parts, settings, strict=True):
            ratios = [value["ratio"] for name, value in zip(names, values, strict=True) if name == "grey_mix"]
            assert all(sum(ratio) == pytest.approx(1, abs=1e-5) for ratio in ratios)
            assert {"red", "green", "blue"} >= {value["channel"] for value in values if "channel" in value}


def test_classes_have_the_names_that_the_store_knows(copied):
    store = copied()
    path = store / "campaign.yaml"
    content = yaml.safe_load(path.read_text())
    content["campaign"]["data"]["classes"] = [f"<i>{label}</i>" for label in range(tiny.CLASSES)]
    content.pop("sha256", None)
    path.write_text(yaml.safe_dump(content))
    found = Pictures(str(store)).draws(keys_of(store)[0])
    assert all(draw["names"] == [f"<i>{label}</i>" for label in draw["classes"]] for draw in found["clean"])
    assert found["clean"]


# A server's load


def test_each_picture_is_made_once_for_all_threads(moved, monkeypatch):
    """Sixteen threads ask for the same pictures: a shard is listed once, an image decoded once, and all get the same bytes."""
    store, _ = moved
    pictures, keys, made = Pictures(str(store)), keys_of(store, cell="net-bart2-pgd"), Counter()
    expected = {(key, what): Pictures(str(store)).png(key, what) for key in keys for what in WHATS}

    def counting(module, name, what):
        inner = getattr(module, name)

        def call(*arguments):
            made[what] += 1
            return inner(*arguments)

        monkeypatch.setattr(module, name, call)

    counting(single, "listing", "shards")
    counting(guarded, "decode", "images")
    asked = [(key, what) for key in keys for what in WHATS] * 4
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda pair: (pair, pictures.png(*pair)), asked))
    assert all(expected[pair] == png for pair, png in found) and len(found) == 4 * 5 * 8
    assert made == {"shards": 2, "images": 8}


@pytest.mark.parametrize("kind", ["module", "purifier", "barrage"])
def test_draws_by_several_threads_are_those_of_one(kind, tmp_path, pattern):
    """Code of others draws from torch's generator, which threads share."""
    job, _ = ran(of_kind(pattern, kind), tmp_path / "store")
    asked = [
        (key, f"{side}-draw-{draw}") for key in keys_of(job.store) for side in ("clean", "adversarial") for draw in range(3)
    ]
    alone = Pictures(job.store)
    expected = [alone.png(*pair) for pair in asked]
    pictures = Pictures(job.store)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda pair: pictures.png(*pair), asked)) == expected


def test_a_store_in_a_bucket_with_shards_there_and_at_a_web_address_gives_the_same_pictures(s3, packed, moved):
    store, _ = moved
    images = [packed / "images" / f"image{i}.png" for i in range(8)]
    pack([(path, i % tiny.CLASSES) for i, path in enumerate(images)], f"{s3.url}/val", "photos", per_shard=5)
    s3.publish()
    web = f"{s3.url}/val".replace("s3://", s3.proxy.url + "/")
    content = tiny.campaign("x.tar", cells=[{"model": "net", "defense": "bart2", "attack": "pgd"}])
    content["data"]["shards"] = [f"{s3.url}/val/photos-000000.tar", f"{web}/photos-000001.tar"]
    job, _ = ran(content, f"{s3.url}/store")
    here, there = Pictures(str(store)), Pictures(job.store)
    keys = keys_of(job.store, cell="net-bart2-pgd")
    assert len(keys) == 8
    for key in keys:
        assert there.png(key, "clean") == here.png(key, "clean")
        assert there.png(key, "clean-draw-1") == here.png(key, "clean-draw-1")
        assert there.png(key, "adversarial") == here.png(key, "adversarial")
    s3.proxy.fault = lambda request: "403"
    assert "403" in said(Pictures(job.store).png, keys[0], "clean")


# Files


def test_an_export_holds_what_the_server_gives(copied, tmp_path):
    store = copied()
    pictures, keys = Pictures(str(store)), keys_of(store, cell="net-bart2-pgd")
    lost = Key("net-bart2-pgd", "photos-000000", "../../nobody")
    found = list(pictures.export([*keys, lost], tmp_path / "out" / "0", draws=2))
    assert [one.number for one in found] == list(range(9))
    names = ["clean", "adversarial", "difference", "clean-draw-0", "adversarial-draw-0", "clean-draw-1", "adversarial-draw-1"]
    for key, one in zip(keys, found, strict=False):
        assert one.files == names and not one.missing and one.draws == pictures.draws(key)
        for what in names:
            assert (tmp_path / "out" / "0" / f"{one.number}-{what}.png").read_bytes() == pictures.png(key, what)
    last = found[-1]
    assert last.files == [] and last.draws is None and set(last.missing) == {*names, "draws"}
    assert len(list(tmp_path.glob("out/0/*.png"))) == len(list(tmp_path.rglob("*-*.png"))) == 7 * 8


@pytest.mark.skipif(not VALIDATION.exists(), reason=f"needs photographs: {VALIDATION}")
def test_photographs_behind_the_article_s_barrage(tmp_path):
    """Two JPEG photographs at 224 px, five of the 25 transforms: framed as torchvision does, and drawn as they were judged."""
    attack = {"eps": "8/255", "steps": 1, "eot_draws": 1}
    content = tiny.campaign(str(VALIDATION), attacks={"pgd": attack}, defenses={"bart5": {"k": 5}}, evaluation_draws=3)
    content |= {"cells": [{"model": "net", "defense": "bart5", "attack": "pgd"}]}
    content |= {"data": {"shards": str(VALIDATION), "resize": 256, "crop": 224, "limit": 2}}
    content["models"]["net"] |= {"classes": 1000, "architecture": "tests.support.tiny:thousand_classes"}
    job, _ = ran(content, tmp_path / "store")
    (cell,) = job.cells.values()
    with tarfile.open(VALIDATION) as tar:
        photographs = {m.name.removesuffix(".jpg"): tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")}
    pictures = Pictures(job.store)
    rows = results(job.store, COLUMNS).to_pylist()
    images = []
    for row in rows:
        key = Key(row["cell"], row["shard"], row["image_key"])
        photograph = Image.open(io.BytesIO(photographs[key.key])).convert("RGB")
        scale = 256 / min(photograph.size)
        resized = photograph.resize([max(256, round(side * scale)) for side in photograph.size], Image.Resampling.BICUBIC)
        left, top = ((side - 224) // 2 for side in resized.size)
        images.append(np.asarray(resized.crop((left, top, left + 224, top + 224))).transpose(2, 0, 1))
        assert np.array_equal(pixels(pictures.png(key, "clean")), images[-1])
    defended, got = Bench(job, torch.device("cpu"), threading.Event()).defended(cell), []
    defended.classifier.register_forward_pre_hook(lambda module, inputs: got.append(inputs[0].clone()))
    given = torch.from_numpy(np.ascontiguousarray(np.stack(images)))
    judge(defended, given, image_keys.to_judge(cell, [(row["shard"], row["image_key"]) for row in rows]), 3, stack=6)
    for row, met in zip(rows, torch.cat(got).unflatten(0, (2, 3)), strict=True):
        key = Key(row["cell"], row["shard"], row["image_key"])
        assert all(len(draw["parts"]) == 5 for draw in pictures.draws(key)["clean"])
        for draw in range(3):
            assert np.array_equal(pixels(pictures.png(key, f"clean-draw-{draw}")), in_8_bits(met[draw]))
