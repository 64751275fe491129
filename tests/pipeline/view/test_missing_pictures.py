"""Pictures that are missing, changed, hostile or of a failed image: one line says why, and the others are still shown."""

import io
import shutil

import numpy as np
import yaml
from PIL import Image

from pipeline.data import guarded
from pipeline.data.pack import pack
from pipeline.data.tars.writing import packed as as_tar
from pipeline.data.tars.writing import unpacked
from pipeline.store.rows import results
from pipeline.view.pictures import COLUMNS, Key, Pictures
from tests.support import tiny
from tests.support.campaigns import of_kind, ran
from tests.support.stores.pictures import WHATS, clean, keys_of, pixels, said

HOSTILE = (
    "../../etc/passwd", "<script>alert(1)</script>", "x" * 10_000_000, "a\0b", "\ud800", "", "image0\n", "\u202eimage0", "%00",
)  # fmt: skip


def test_hostile_names_are_refused_in_one_line(finished):
    pictures, good = Pictures(str(finished())), keys_of(finished())[0]
    for text in HOSTILE:
        for key in (good._replace(key=text), good._replace(shard=text), good._replace(cell=text)):
            assert "holds no row" in said(pictures.png, key, "clean")
            assert "holds no row" in said(pictures.draws, key)
        assert "expected clean, adversarial, difference" in said(pictures.png, good, text)
    for what in ("clean-draw--1", "clean-draw-01", "clean-draw-٣", "difference-draw-0", "clean-draw-9999999", "clean\n"):
        assert "expected clean, adversarial, difference" in said(pictures.png, good, what)
    assert "draw 4: image image" in said(pictures.png, keys_of(finished(), cell="net-bart2-pgd")[0], "clean-draw-4")


def test_what_a_hostile_row_says_is_a_part_of_one_line(finished):
    good = dict(results(str(finished()), COLUMNS).to_pylist()[0])
    key = Key(good["cell"], good["shard"], good["image_key"])
    for text in HOSTILE:
        for change in ({"status": "failed", "error": text}, {"status": text or "odd"}, {"unit": text}, {"campaign": text}):
            pictures = Pictures(str(finished()), lambda _, change=change: good | change)
            assert said(pictures.png, key, "adversarial-draw-0")
        pictures = Pictures(str(finished()), lambda _, text=text: good | {"image_key": text, "shard": "photos-000000"})
        assert "holds no image" in said(pictures.png, key, "clean")


def test_a_failed_image_says_why(copied, monkeypatch):
    store, keys = copied(), keys_of(copied("other"), cell="net-bart2-pgd")
    row = results(str(store), COLUMNS, ["net-bart2-pgd"]).to_pylist()[0]
    key = Key(row["cell"], row["shard"], row["image_key"])
    assert key in keys
    for status in ("failed", "bad_label", "bad_example", "bad_image", "bad_key"):
        has_clean = status not in ("bad_image", "bad_key")
        failed = row | {"status": status, "error": "it was odd", "clean_top5": None, "adv_top5": None, "label": None}
        pictures = Pictures(str(store), lambda _, failed=failed: failed)
        if has_clean:
            assert np.array_equal(pixels(pictures.png(key, "clean")), clean(key))
        for what in WHATS[has_clean:]:
            assert f"{status}, it was odd" in said(pictures.png, key, what)
        found = pictures.draws(key)
        assert (found["clean"], found["adversarial"], found["magnified"]) == ([], [], None) and "it was odd" in found["problem"]


def test_a_shard_that_is_gone_or_another_one_leaves_the_examples(moved):
    store, folder = moved
    key = keys_of(store, cell="net-bart2-pgd", shard="photos-000000")[0]
    path = folder / "photos-000000.tar"
    data = path.read_bytes()
    files = unpacked(data)
    files["image0.png"], files["image1.png"] = files["image1.png"], files["image0.png"]
    others = as_tar(files.items())
    for change, reason in (
        (path.unlink, "it is not there; restore it"),
        (lambda: path.write_bytes(data[:-512]), f"has {len(data) - 512} bytes, planned were {len(data)}"),
        (lambda: path.write_bytes(others), "has SHA-256 "),
        (lambda: path.write_bytes(bytes(len(data))), "has SHA-256 "),
    ):
        change()
        pictures = Pictures(str(store))
        for what in ("clean", "difference", "clean-draw-0"):
            assert reason in said(pictures.png, key, what)
        assert pixels(pictures.png(key, "adversarial")).shape == (3, 32, 32)
        assert pixels(pictures.png(key, "adversarial-draw-3")).shape == (3, 32, 32)
        found = pictures.draws(key)
        assert found["magnified"] is None and len(found["clean"]) == 4 and len(found["clean"][0]["parts"]) == 2
        path.write_bytes(data)
        assert np.array_equal(pixels(pictures.png(key, "clean")), clean(key)), "it is back"


def test_examples_that_are_away_or_damaged_leave_the_clean_image(copied):
    store = copied()
    key = keys_of(store, cell="net-bart2-pgd")[0]
    row = next(r for r in results(str(store), COLUMNS).to_pylist() if (r["cell"], r["image_key"]) == (key.cell, key.key))
    path = store / "adversarial" / f"cell={row['cell']}" / f"{row['unit']}.tar"
    data = path.read_bytes()
    name, png = f"{key.key}.png", io.BytesIO()
    Image.new("RGB", (4000, 40)).save(png, "PNG")
    files = unpacked(data)
    for content, reason in (
        (b"", "can not be read"),
        (b"nothing" * 1000, "can not be read: no whole tar"),
        (data[: len(data) // 4], "can not be read|is missing"),
        (as_tar({n: f for n, f in files.items() if n != name}.items()), f"the example of image {key.key} is missing"),
        (as_tar((files | {name: b"no image"}).items()), "can not be read: the bytes are no"),
        (as_tar((files | {name: files[name][:200]}).items()), "can not be read: "),
        (as_tar((files | {name: png.getvalue()}).items()), "has 4000 x 40 pixels, expected 32 x 32"),
    ):
        path.write_bytes(content)
        pictures = Pictures(str(store))
        for what in ("adversarial", "difference", "adversarial-draw-0"):
            text = said(pictures.png, key, what)
            assert any(one in text for one in reason.split("|")), text
        assert np.array_equal(pixels(pictures.png(key, "clean")), clean(key))
        assert pictures.draws(key)["magnified"] is None
    shutil.rmtree(store / "adversarial")
    assert "the store's folder adversarial/ is not here" in said(Pictures(str(store)).png, key, "adversarial")
    shutil.rmtree(store)
    assert "holds no campaign.yaml" in said(pictures.png, key, "clean")


def test_a_store_that_keeps_no_examples_says_so(finished):
    store = finished(save_adversarial=False)
    pictures, key = Pictures(str(store)), keys_of(store, cell="net-bart2-pgd")[0]
    for what in ("adversarial", "difference", "adversarial-draw-0"):
        assert "the campaign keeps none (save_adversarial)" in said(pictures.png, key, what)
    assert pixels(pictures.png(key, "clean-draw-0")).shape == (3, 32, 32) and pictures.draws(key)["problem"] is None


def test_an_image_that_cannot_be_decoded_any_more_is_one_line(moved, monkeypatch):
    """Whatever a decoder says: of an image that its row calls good, as a later release of a library may."""
    store, _ = moved
    key, pictures = keys_of(store)[0], Pictures(str(store))
    for error in (ValueError("its decoder crashed: SIGSEGV"), RuntimeError("the process that decodes ended")):

        def fails(*arguments, error=error):
            raise error

        monkeypatch.setattr(guarded, "decode", fails)
        assert str(error) in said(pictures.png, key, "clean")
    monkeypatch.undo()
    assert np.array_equal(pixels(pictures.png(key, "clean")), clean(key)), "it is tried again"


def test_two_shards_with_one_key_have_pictures_of_their_own(tmp_path):
    for shard, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{shard}.png").write_bytes(tiny.picture(seed))
        pack([(tmp_path / f"{shard}.png", 0)], tmp_path / shard, shard, per_shard=1)
        files = unpacked((tmp_path / shard / f"{shard}-000000.tar").read_bytes())
        (tmp_path / f"{shard}-000000.tar").write_bytes(as_tar((f"same.{n.rpartition('.')[2]}", f) for n, f in files.items()))
    job, _ = ran(tiny.campaign(str(tmp_path / "?-000000.tar")), tmp_path / "store")
    pictures = Pictures(job.store)
    for shard, seed in (("a-000000", 1), ("b-000000", 2)):
        key = Key("net-bart2-pgd", shard, "same")
        assert np.array_equal(pixels(pictures.png(key, "clean")), clean(key._replace(key=f"image{seed}")))
    first, second = (pictures.png(Key("net-bart2-pgd", s, "same"), "adversarial-draw-0") for s in ("a-000000", "b-000000"))
    assert first != second


def test_draws_of_a_definition_that_changed_are_not_shown(copied):
    store = copied()
    path = store / "campaign.yaml"
    content = yaml.safe_load(path.read_text())
    content["definitions"]["draws"] = {"evaluation": 1}
    content.pop("sha256", None)
    path.write_text(yaml.safe_dump(content))
    key, pictures = keys_of(store, cell="net-bart2-pgd")[0], Pictures(str(store))
    reason = "rule of draws for evaluation had version 1, has version 2: its draws are not shown"
    assert reason in said(pictures.png, key, "clean-draw-0")
    found = pictures.draws(key)
    assert reason in found["problem"] and [draw["parts"] for draw in found["clean"]] == [[]] * 4
    assert np.array_equal(pixels(pictures.png(key, "clean")), clean(key))


def test_a_cell_that_a_store_gains_is_shown(pattern, tmp_path):
    content = tiny.campaign(pattern, cells=[{"model": "net", "defense": "none", "attack": "pgd"}])
    ran(content, tmp_path / "store")
    pictures, key = Pictures(str(tmp_path / "store")), Key("net-bart2-pgd", "photos-000000", "image0")
    assert "holds no rows of the cell 'net-bart2-pgd'" in said(pictures.png, key, "clean-draw-0")
    before = pictures.png(key._replace(cell="net-none-pgd"), "adversarial")
    ran(tiny.campaign(pattern), tmp_path / "store")
    assert pixels(pictures.png(key, "clean-draw-0")).shape == (3, 32, 32)
    assert pictures.png(key._replace(cell="net-none-pgd"), "adversarial") == before


def test_code_of_others_that_fails_is_one_line(tmp_path, pattern, monkeypatch):
    job, _ = ran(of_kind(pattern, "module"), tmp_path / "store")
    pictures, key = Pictures(job.store), keys_of(job.store)[0]
    assert pictures.png(key, "clean-draw-0")
    monkeypatch.setattr("tests.support.stochastic.Noise.forward", lambda self, x: 1 / 0)
    assert "defense mine runs code of others, which fails here: ZeroDivisionError" in said(pictures.png, key, "clean-draw-1")
