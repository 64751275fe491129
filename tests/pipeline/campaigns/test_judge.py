"""Examples that other tools made are judged as barrage's own: by the same draws, into the same rows."""

import io
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.campaigns.judging import campaign_of, name_of
from pipeline.campaigns.verification.replay import replay
from pipeline.campaigns.verification.verify import verify
from pipeline.config.campaign import Grid, parse
from pipeline.data.tars.writing import packed, unpacked
from pipeline.errors import BadInput
from pipeline.scoring import summaries
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.campaigns import ran, rows

MADE_BY = {
    "cell",
    "attack",
    "unit",
    "campaign",
    "policy",
    "steps",
    "eot_draws",
    "grad_evals",
    "forward_evals",
    "given_distance",
    "gradient_norm",
}
"""Columns that tell who made an example; all others are of the image, the example and its verdict."""


@pytest.fixture(scope="module")
def made(finished):
    """Return the examples of a finished cell, {key: (3, 32, 32) uint8}, and its store."""
    store = finished()
    files = {}
    for tar in sorted((store / "adversarial" / "cell=net-bart2-pgd").glob("*.tar")):
        files |= unpacked(tar.read_bytes())
    images = {n.removesuffix(".png"): np.asarray(Image.open(io.BytesIO(d))) for n, d in files.items() if n.endswith(".png")}
    return {key: image.transpose(2, 0, 1) for key, image in images.items()}, store


def in_order(store):
    """Return the keys of a store's images in the order of its shards."""
    found = {(row["shard"], row["image_key"]) for row in results(str(store)).to_pylist()}
    return [key for _, key in sorted(found)]


def write_npz(images, order, folder):
    stack = np.stack([images[key] for key in order]).astype(np.float32) / 255
    np.savez(folder / "adv.npz", x_adv=stack, x=0 * stack, y=np.arange(8) % tiny.CLASSES)
    return folder / "adv.npz"


def write_keyed(images, order, folder):
    keys = sorted(order, reverse=True)
    np.savez(folder / "adv.npz", examples=np.stack([images[key].transpose(1, 2, 0) for key in keys]), keys=np.array(keys))
    return folder / "adv.npz"


def write_npy(images, order, folder):
    np.save(folder / "adv.npy", np.stack([images[key] for key in order]))
    return folder / "adv.npy"


def write_pt(images, order, folder):
    torch.save({"adv_complete": torch.tensor(np.stack([images[key] for key in order])) / 255}, folder / "adv.pt")
    return folder / "adv.pt"


def write_folder(images, order, folder):
    (folder / "adv").mkdir()
    for key, image in images.items():
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / "adv" / f"{key}.png")
    return folder / "adv"


def write_shards(images, order, folder):
    for i, half in enumerate((order[:3], order[3:])):
        files = []
        for key in half:
            data = io.BytesIO()
            Image.fromarray(images[key].transpose(1, 2, 0)).save(data, "PNG")
            files += [(f"{key}.png", data.getvalue()), (f"{key}.cls", b"%d" % int(key.removeprefix("image")))]
        (folder / f"adv-{i}.tar").write_bytes(packed(files))
    return folder / "adv-{0..1}.tar"


FORMS = [write_npz, write_keyed, write_npy, write_pt, write_folder, write_shards]


def judged(path, pattern, store, **changes):
    """Judge examples behind the barrage; return the job."""
    config = campaign_of(parse(tiny.campaign(pattern, **changes), "c"), str(path), cells=["net-bart2-pgd"])
    job, outcome = ran(config.model_dump(mode="json"), store)
    assert outcome.exit_code == 0
    return job


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_examples_get_the_verdict_that_the_attack_that_made_them_got(form, made, pattern, tmp_path):
    images, store = made
    job = judged(form(images, in_order(store), tmp_path), pattern, tmp_path / "store")
    ours = {key: row for (cell, key), row in rows(store, MADE_BY).items() if cell == "net-bart2-pgd"}
    found = {key: row for (_, key), row in rows(tmp_path / "store", MADE_BY).items()}
    assert len(found) == 8 and found == ours
    for row in results(job.store).to_pylist():
        assert (row["grad_evals"], row["forward_evals"], row["steps"], row["policy"]) == (0, 8, 0, "none")
        assert row["given_distance"] == pytest.approx(row["linf"])
    assert list(verify(job, 3)) == []


def test_rows_are_equal_for_other_units_and_an_image_alone(made, pattern, tmp_path):
    images, store = made
    path = write_npz(images, in_order(store), tmp_path)
    job = judged(path, pattern, tmp_path / "a")
    judged(path, pattern, tmp_path / "b", unit_images=1)
    assert rows(tmp_path / "a", {"unit"}) == rows(tmp_path / "b", {"unit"})
    for row in results(job.store).to_pylist()[::3]:
        assert not replay(job, row, torch.device("cpu")).differences


def test_what_is_outside_the_ball_is_moved_into_it_and_counted(made, pattern, tmp_path):
    images, store = made
    order = in_order(store)
    path = write_npz(images | {order[1]: 255 - images[order[1]]}, order, tmp_path)
    job = judged(path, pattern, tmp_path / "store")
    (line,) = summaries.lines(results(job.store))
    assert (line.moved, line.images) == (1, 8)
    assert summaries.cells(line)[2] == "8, 1 moved" and "outside their ball" in summaries.notes([line])[0]
    far = {row["image_key"]: row for row in results(job.store).to_pylist()}[order[1]]
    assert far["given_distance"] > 0.2 and far["linf"] == pytest.approx(8 / 255)
    assert list(verify(job, 8)) == []


def test_a_picture_that_cannot_be_used_is_a_row_with_its_reason(made, pattern, tmp_path):
    images, store = made
    path = write_folder(images, in_order(store), tmp_path)
    (path / "image2.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((40, 32, 3), np.uint8)).save(path / "image5.png")
    config = campaign_of(parse(tiny.campaign(pattern), "c"), str(path), cells=["net-bart2-pgd"])
    _, outcome = ran(config.model_dump(mode="json"), tmp_path / "store")
    bad = {r["image_key"]: r["error"] for r in results(str(tmp_path / "store")).to_pylist() if r["status"] == "bad_example"}
    assert outcome.exit_code == 1 and bad.keys() == {"image2", "image5"}
    assert bad["image2"].startswith("its example: the bytes are no JPEG") and bad["image5"].endswith("px, expected 32 x 32")


def test_the_command_judges_under_every_rule_and_resumes(made, pattern, write, barrage, tmp_path):
    images, store = made
    path, campaign = write_pt(images, in_order(store), tmp_path), write(tiny.campaign(pattern))
    arguments = ("judge", campaign, path, "--here", "--store", tmp_path / "s", "--cell", "net-bart2-pgd")
    code, out, err = barrage(*arguments)
    assert code == 0 and all(rule in out for rule in ("single", "vote", "mean", "persistent")), err
    before = {p: p.read_bytes() for p in (tmp_path / "s" / "results").iterdir()}
    min(before).unlink()
    assert barrage(*arguments)[0] == 0
    again = rows(tmp_path / "s")
    assert len(again) == 8 and {p for p in (tmp_path / "s" / "results").iterdir()} == set(before)
    code, _, err = barrage(*arguments[:-2], "--eps", "4/255")
    assert code == 2 and "eps" in err


def refused(path, pattern, tmp_path, said, **options):
    with pytest.raises(BadInput, match=said) as caught:
        config = campaign_of(parse(tiny.campaign(pattern), "c"), str(path), **options)
        ran(config.model_dump(mode="json"), tmp_path / "refused")
    assert "\n" not in str(caught.value) and not (tmp_path / "refused" / "campaign.yaml").exists()


class Opened:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (open, ("opened", "w"))


def wrong_files(images, order, folder):
    """Yield (file, what is said of it) for files that are refused."""
    stack = np.stack([images[key] for key in order])

    def npz(name, **arrays):
        np.savez(folder / f"{name}.npz", **arrays)
        return folder / f"{name}.npz"

    yield npz("few", x=stack[:7]), "are 7, the campaign has 8 images: give one for each, or set data.limit"
    yield npz("range", x=stack.astype(np.float32)), r"image \w+: its example has values from .* expected \[0, 1\]: undo"
    yield npz("nan", x=np.where(np.arange(8)[:, None, None, None] == 3, np.nan, stack / 255)), "image .*NaN or infinite values"
    yield npz("size", x=stack[:, :, :28, :28]), r"have 28 x 28 px, the campaign's images have 32 \(data.crop\)"
    yield npz("two", a=stack, b=stack), "it holds 2 arrays of images, keep one or call it examples"
    yield npz("none", y=np.arange(8)), r"it holds no images: y \(8,\).*expected images"
    yield npz("whole", x=stack.astype(np.int64)), "images of torch.int64"
    yield npz("labels", x=stack, y=np.arange(8)[::-1].copy()), "has the label 7, its shard says 0: are they in the order"
    yield (
        npz("foreign", x=stack, keys=np.array([f"other{i}" for i in range(8)])),
        "8 of 8 keys are of no image .* such as other0",
    )
    yield npz("twice", x=stack, keys=np.array([order[0]] * 8)), f"the key {order[0]} stands for two examples"
    yield npz("missing", x=stack[1:], keys=np.array(order[1:])), f"1 of 8 images have no example, such as {order[0]}: add the"
    yield npz("keys", x=stack, keys=np.array(order[1:])), "7 keys for 8 images"
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    yield folder / "damaged.npz", "damaged.npz: .*expected images"
    (folder / "code.pt").write_bytes(pickle.dumps({"x": Opened()}))
    yield folder / "code.pt", "code.pt: .*expected images"
    torch.save({"x": Opened()}, folder / "code2.pt")
    yield folder / "code2.pt", "code2.pt: .*expected images"
    np.savez(folder / "objects.npz", x=np.array([Opened()], dtype=object))
    yield folder / "objects.npz", "objects.npz: .*expected images"
    np.savez_compressed(folder / "bomb.npz", x=np.zeros((40_000, 3, 32, 32), np.uint8))
    yield folder / "bomb.npz", "bomb.npz: .*it unfolds to more than 100 times its size"
    (folder / "empty").mkdir()
    yield folder / "empty", "no image in this folder: expected files such as KEY.png"
    (folder / "notes.txt").write_text("x")
    yield folder / "notes.txt", "expected a .npz, .npy, .pt or .pth file, a folder of images, or WebDataset tars"
    yield folder / "absent.npz", "absent.npz do not exist"
    yield folder / "absent-{0..3}.tar", "does not exist|match no file"


def test_wrong_examples_are_refused_before_any_work(made, pattern, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, store = made
    for path, said in wrong_files(images, in_order(store), tmp_path):
        refused(path, pattern, tmp_path, said)
    assert not (tmp_path / "opened").exists(), "code of a file ran"


def test_other_wrong_wishes_are_refused(made, pattern, tmp_path):
    images, store = made
    path = write_npz(images, in_order(store), tmp_path)
    refused(path, pattern, tmp_path, "have no keys: add an array `keys`", match="key")
    refused(
        path, pattern, tmp_path, "--cell net-bart9-pgd: expected a cell of the campaign: net-none-pgd", cells=["net-bart9-pgd"]
    )
    content = tiny.campaign(pattern, attacks={"pgd": {"eps": 0.1}, "far": {"eps": 0.2}})
    content["cells"][0]["attack"] = ["pgd", "far"]
    with pytest.raises(BadInput, match=r"several balls \(eps 0.1, 0.2\): say by --eps which one is meant"):
        campaign_of(parse(content, "c"), str(path))


def test_changed_examples_are_noticed(made, pattern, tmp_path):
    images, store = made
    path = write_npz(images, in_order(store), tmp_path)
    judged(path, pattern, tmp_path / "store")
    shutil.move(path, tmp_path / "moved.npz")
    config = campaign_of(parse(tiny.campaign(pattern), "c"), str(tmp_path / "moved.npz"), cells=["net-bart2-pgd"])
    again = config.model_copy(
        update={"attacks": {"adv": config.attacks["moved"]}, "cells": [Grid(model=["net"], defense=["bart2"], attack=["adv"])]}
    )
    content = again.model_dump(mode="json")
    assert ran(content, tmp_path / "store")[1].exit_code == 0, "only the place of the examples changed"
    content["attacks"]["adv"]["sha256"] = "0" * 64
    with pytest.raises(BadInput, match="have SHA-256 .*, expected 0000.*: use the right ones, or correct sha256"):
        ran(content, tmp_path / "store")
    write_npz(images | {in_order(store)[0]: images["image1"]}, in_order(store), tmp_path)
    with pytest.raises(BadInput, match="attack.sha256 was .* is"):
        judged(path, pattern, tmp_path / "store")


def test_names_of_examples():
    names = {
        "a/b/adv.npz": "adv",
        "x y.pt": "x-y",
        "s3://b/adv-{000..009}.tar": "adv-000..009",
        "folder/": "folder",
        "...": "examples",
    }
    assert {path: name_of(path) for path in names} == names
