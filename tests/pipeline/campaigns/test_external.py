"""A function of others runs in a campaign unit by unit, and is judged as barrage's own attacks are."""

import io
import os
import re
import signal
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import bart
from pipeline.campaigns import image_keys
from pipeline.campaigns.parking import reason
from pipeline.campaigns.verification.replay import replay
from pipeline.campaigns.verification.verify import verify
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import parse
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.store.schema import LATEST
from tests.support import foreign, tiny
from tests.support.campaigns import command, ran, rows

MODULE = "tests.support.foreign"


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("BARRAGE_ALLOW_MODULES", "tests.support")


def content(pattern, function="stepped", cells=None, **attack):
    settings = {"kind": "external", "eps": "8/255", "function": f"{MODULE}:{function}", **attack}
    cells = cells or [{"model": "net", "defense": ["none", "bart2"], "attack": "pgd"}]
    return tiny.campaign(pattern, attacks={"pgd": settings}, cells=cells)


def test_its_rows_are_those_of_the_function_alone_judged_by_fresh_draws(pattern, tmp_path):
    """The function is run here by hand on one image, through a module with the image's key."""
    job, outcome = ran(content(pattern, settings={"steps": 3}), tmp_path / "store")
    assert outcome.exit_code == 0 and list(verify(job, 8)) == []
    found = results(job.store).to_pylist()
    assert len(found) == 16
    for row in found:
        assert (row["grad_evals"], row["steps"], row["policy"], row["eot_draws"]) == (3, 1, "combo", 1)
        assert row["forward_evals"] == 2 * (4 if row["defense"] == "bart2" else 1)
        assert row["given_distance"] > 0 and 0 < row["linf"] <= 8 / 255 + 1e-6
    cell = job.cells["net-bart2-pgd"]

    defended = Worker(job, torch.device("cpu"), threading.Event()).defended(cell)
    row = next(row for row in found if row["cell"] == cell.name)
    keys = image_keys.to_attack(cell, [(row["shard"], row["image_key"])])
    attack = bart.External(bart.Ball("linf", 8 / 255), lambda m, x, y: foreign.stepped(m, x, y, steps=3))
    x = torch.from_numpy(tiny_pixels(row["image_key"]))[None].float() / 255
    state = attack.start(x, bart.Goal(torch.tensor([row["label"]]), torch.tensor([-1])), keys)
    stored = attack.ball.store(attack.step(state, defended, 4).x, x)
    assert float(attack.ball.distance(stored, x, "l2")) == pytest.approx(row["l2"])


def tiny_pixels(key):

    image = Image.open(io.BytesIO(tiny.picture(int(key.removeprefix("image")))))
    return np.asarray(image.crop((4, 4, 36, 36))).transpose(2, 0, 1).copy()


def test_rows_are_equal_for_other_units_and_stacks_and_an_image_alone(pattern, tmp_path):
    first, _ = ran(content(pattern), tmp_path / "a")
    ran(content(pattern) | {"unit_images": 1, "workers": {"stack": 1}}, tmp_path / "b")
    but = {"unit", *LATEST}  # a network rounds otherwise in another batch
    assert rows(tmp_path / "a", but) == rows(tmp_path / "b", but)
    for row in results(first.store).to_pylist()[::5]:
        assert not replay(first, row, torch.device("cpu")).differences


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_rows(pattern, write, tmp_path):
    made = content(pattern, cells=[{"model": "net", "defense": "bart2", "attack": "pgd"}], settings={"steps": 40})
    ran(made, tmp_path / "quiet")
    path = write(made)
    process = command(path, tmp_path / "killed", "run", "--here", BARRAGE_ALLOW_MODULES="tests.support")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("results/*.parquet")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    ran(made, tmp_path / "killed")
    assert rows(tmp_path / "killed") == rows(tmp_path / "quiet")


def test_an_image_whose_attack_fails_is_a_row_with_its_reason(pattern, tmp_path):
    job, outcome = ran(content(pattern, "raises_for_some"), tmp_path / "store")
    failed = [row for row in results(job.store).to_pylist() if row["status"] == "failed"]
    assert outcome.exit_code == 1 and [(row["image_key"], row["cell"]) for row in failed] == [
        ("image2", "net-bart2-pgd"), ("image2", "net-none-pgd"),
    ]  # fmt: skip
    assert {row["error"] for row in failed} == {
        f"RuntimeError: external attack {MODULE}:raises_for_some raised ValueError: too hard"
    }


def test_a_function_that_always_raises_parks_its_units_with_one_line(pattern, tmp_path):
    one = [{"model": "net", "defense": "none", "attack": "pgd"}]
    job, outcome = ran(content(pattern, "raises", cells=one), tmp_path / "store")
    assert outcome.exit_code == 1 and len(outcome.failed_units) == 3
    for unit in outcome.failed_units:
        assert reason(Store(job.store), unit).endswith(f"external attack {MODULE}:raises raised KeyError: 'no\\nsuch layer'")


WRONG = {
    "was not allowed: if you trust it, give --allow-module other.module": {"function": "other.module:attack"},
    "external attack .*:nothing: AttributeError.*expected package.module:function of a model, images": {
        "function": f"{MODULE}:nothing"
    },
    "external attack .*:NAME is str: expected": {"function": f"{MODULE}:NAME"},
    "too many positional arguments: expected a function of a model, images and labels": {"function": f"{MODULE}:lonely"},
    "unexpected keyword argument 'step': expected .* which takes the keys of settings": {"settings": {"step": 3}},
    "SHA-256 .*, expected 0000.*restore it, or correct code_sha256": {"code_sha256": "0" * 64},
    "attacks.pgd.*function": {"function": "no function"},
    "unknown key": {"goal": "random_target"},
    "attacks.pgd.*batch": {"batch": 0},
}


@pytest.mark.parametrize("said", list(WRONG))
def test_wrong_settings_are_refused_before_any_work(said, pattern, write, barrage, tmp_path):
    settings = {"kind": "external", "eps": 0.1, "function": f"{MODULE}:stepped"} | WRONG[said]
    code, _, err = barrage(
        "run", write(tiny.campaign(pattern, attacks={"pgd": settings})), "--here", "--store", tmp_path / "store"
    )
    assert code == 2 and re.search(said, " ".join(err.split())), err
    assert not (tmp_path / "store" / "campaign.yaml").exists() and "Traceback" not in err


def test_changed_code_makes_another_cell(pattern, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def attack(model, x, y):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BARRAGE_ALLOW_MODULES", "tests.support,mine")
    made = tiny.campaign(pattern, attacks={"pgd": {"kind": "external", "eps": 0.1, "function": "mine:attack"}})
    ran(made, tmp_path / "store")
    (tmp_path / "mine.py").write_text("def attack(model, x, y):\n    return 1 - x\n")
    with pytest.raises(ValueError, match="attack.code_sha256 was .*, is .*; use another --store"):
        ran(made, tmp_path / "store")


def test_a_store_is_read_without_its_functions(pattern, tmp_path, barrage, monkeypatch):
    ran(content(pattern), tmp_path / "store")
    monkeypatch.delenv("BARRAGE_ALLOW_MODULES")
    for words in (("table",), ("status",), ("show",)):
        more = ("image3",) if words == ("show",) else ()
        code, _, err = barrage(*words, tmp_path / "store", *more)
        assert code == 0, err


def test_settings_reach_the_attack_and_leave_the_identity_of_others(pattern):
    def cell(**attack):
        return list(parse(content(pattern, **attack), "c").grid())[1]

    built = cell(eot_draws=3, batch=5, policy="identity").built
    assert (built.draws, built.batch, built.policy, built.name) == (3, 5, "identity", f"{MODULE}:stepped")
    identities = {
        cell(**change).identity for change in ({}, {"batch": 2}, {"settings": {"steps": 1}}, {"code_sha256": "1" * 64})
    }
    assert len(identities) == 4
