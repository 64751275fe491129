"""Raise the alarm while a run is on where its attack sees no gradient, and where the clean images look wrong."""

import io
import threading

import pytest
import torch
from PIL import Image

from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.worker import attacking
from pipeline.config.campaign import parse
from pipeline.data.pack import pack
from pipeline.errors import Remark
from pipeline.store.rows import results
from tests.support import strangers, tiny

NET = {"architecture": "tests.support.strangers:SometimesSaturated", "classes": tiny.CLASSES, "mean": [0] * 3, "std": [1] * 3}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Return a function that packs sixteen pictures with the labels that the model gives, `shift` added; and their pattern."""

    def packed(shift=0, bright_first=False):
        place, files = tmp_path_factory.mktemp("blind"), {}
        network = strangers.SometimesSaturated().eval()
        for i in range(16):
            (place / f"{i}.png").write_bytes(tiny.picture(i, 32))
            pixels = torch.tensor(list(Image.open(io.BytesIO(tiny.picture(i, 32))).tobytes())).view(1, 32, 32, 3)
            with torch.no_grad():
                label = int(network(pixels.permute(0, 3, 1, 2).float() / 255).argmax())
            files[place / f"{i}.png", (label + shift) % tiny.CLASSES] = int(pixels[0, 0, 0, 0])
        pack(sorted(files, key=lambda file: files[file], reverse=bright_first), place / "shards", "x", per_shard=100)
        return str(place / "shards" / "x-000000.tar")

    return packed


def content(pattern, **attack):
    settings = {"eps": "2/255", "steps": 4, "step_size": "1/255", "eot_draws": 1} | attack
    cells = [{"model": "net", "defense": "none", "attack": "pgd"}]
    changes = {"models": {"net": NET}, "attacks": {"pgd": settings}, "cells": cells, "unit_images": 8}
    return tiny.campaign(pattern, **changes)


def test_images_without_a_gradient_raise_the_alarm_everywhere(shards, barrage, write, tmp_path):
    store = tmp_path / "store"
    code, out, err = barrage("run", write(content(shards())), "--here", "--store", store)
    rows = results(str(store)).to_pylist()
    blind = sum(row["zero_gradients"] >= 2 and row["adv_correct"] > 0 for row in rows)
    assert 0 < blind < 16, "some see their gradient, some do not"
    share = f"{100 * blind / 16:.0f} % of images had no gradient: the attack was blind"
    assert code == 1
    assert "warning: net-none-pgd: some images have no gradient, so the attack is blind" in err
    assert f"{blind} images had no gradient; find out why with: barrage check" in err
    assert share in " ".join(out.split()) and f"{blind} blind" in " ".join(out.split())
    status = barrage("status", store)[1]
    assert f"net-none-pgd: {share}" in status and "--cell net-none-pgd" in status
    assert share in barrage("table", store, "--format", "md")[1]
    assert f'"blind": {blind}' in barrage("table", store, "--format", "json", "--rule", "single")[1]


def test_a_model_that_hides_half_of_the_first_images_is_refused_before_the_run(shards, barrage, write, tmp_path):
    pattern, store = shards(bright_first=True), tmp_path / "store"
    code, _, err = barrage("run", write(content(pattern)), "--here", "--store", store)
    assert code == 2 and "saturation, in 4 of 4 pictures" in err and not store.exists()
    behind = content(pattern) | {"defenses": {"none": {"k": 1, "transforms": ["grey_mix"]}}}
    with pytest.warns(Remark, match="saturation, in 4 of 4 pictures"):
        prepare(parse(behind, "c"), str(store))


def test_the_report_shows_the_alarm(shards, barrage, write, tmp_path):
    pytest.importorskip("pandas")
    assert barrage("run", write(content(shards())), "--here", "--store", tmp_path / "store")[0] == 1
    barrage("report", tmp_path / "store", "-o", tmp_path / "page.html")
    assert "had no gradient: the attack was blind" in (tmp_path / "page.html").read_text()


def test_the_margin_sees_them_all(shards, barrage, write, tmp_path):
    code, out, err = barrage("run", write(content(shards(), loss="margin")), "--here", "--store", tmp_path / "store")
    assert code == 0 and "blind" not in out + err and "clean accuracy" not in err


@pytest.mark.parametrize(("shift", "line"), [(-1, "off by one: 100 % of draws say the label +1"), (3, "no more than guessing")])
def test_wrong_labels_are_remarked_once_and_before_the_attack(shards, barrage, write, tmp_path, shift, line):
    wrong = content(shards(shift), loss="margin")
    job = prepare(parse(wrong, "c"), str(tmp_path / "apart")).with_cuts({})
    first = next(attacking(job, torch.device("cpu"), threading.Event())(next(job.units())))
    assert first.step == 0 and line in first.remarks["net-none-pgd clean"]
    _, _, err = barrage("run", write(wrong), "--here", "--store", tmp_path / "store")
    assert err.count(line) == 1
