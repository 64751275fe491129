"""Classifiers trained, stored, interrupted, refused, and used by a campaign."""

import json
import threading
from pathlib import Path

import pytest
import torch

from pipeline.learner import Learned, Learner, Looked
from pipeline.pack import pack
from pipeline.recipe import UNIT, Recipe, prepare
from pipeline.worker import Drained
from tests.pipeline import tiny

CPU = torch.device("cpu")
PGD = {"eps": "8/255", "steps": 2, "step_size": "4/255"}
QUICK = ["color_precision", "grey_mix", "gaussian_blur", "hsv", "zoom"]
MODES = {
    "plain": {},
    "bart": {"barrage": {"k": [0, 3], "transforms": QUICK, "ramp": 3}},
    "adversarial": {"attack": PGD},
    "advrt": {"barrage": {"k": 2, "transforms": QUICK}, "attack": PGD | {"eot_draws": 2}},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A pattern of three shards, with 10, 10 and 4 images of 40 px."""
    folder = tmp_path_factory.mktemp("photos")
    files = []
    for i in range(24):
        path = folder / f"image{i}.png"
        path.write_bytes(tiny.picture(i))
        files.append((path, i % tiny.CLASSES))
    pack(files, folder / "shards", "train", per_shard=10)
    return str(folder / "shards" / "train-{000000..000002}.tar")


def content(photos, **changes):
    told = {"kind": "classifier", "name": "net", "data": {"shards": photos, "resize": None, "crop": 32}, "held_out": 4}
    told |= {"model": {"architecture": "tests.pipeline.tiny:network", "classes": tiny.CLASSES, "weights": "random"}}
    told |= {"epochs": 1.8, "batch": 6, "evaluation": {"k": [0, 2], "every": 4}, "precision": "float32"}
    return told | {"optimizer": {"learning_rate": 0.01}} | changes


def job(photos, store, **changes):
    return prepare(Recipe.model_validate(content(photos, **changes)), str(store))


def trained(found, drain=None):
    """Events of a training in this process."""
    return list(Learner(found, CPU, drain or threading.Event())(UNIT))


def stopped_after(found, steps):
    """A training that is told to leave, of which only the files remain."""
    drain = threading.Event()
    learner = Learner(found, CPU, drain)
    source = learner.feed.batches

    def batches(*arguments):
        for count, batch in enumerate(source(*arguments), 1):
            if count == steps:
                drain.set()
            yield batch

    learner.feed.batches = batches
    with pytest.raises(Drained):
        list(learner(UNIT))


def files(found):
    return {name: Path(found.store, name).read_bytes() for name in ("model.safetensors", "curves.parquet")}


EVERYTHING = {
    "optimizer": {"kind": "sgd", "learning_rate": 0.05, "schedule": "cosine", "warm_up": 2, "weight_decay": 1e-3},
    "average": 0.8,
    "accumulate": 2,
    "augment": {"pad": 2, "margin": 3},
}


@pytest.mark.parametrize("mode", MODES)
def test_a_resumed_training_gives_the_same_files_bit_for_bit(photos, tmp_path, mode):
    settings = MODES[mode] | (EVERYTHING if mode in ("bart", "advrt") else {})
    whole = job(photos, tmp_path / "whole", **settings)
    events = trained(whole)
    assert whole.steps == 6 and [event.step for event in events if isinstance(event, Looked)] == [4, 6]
    found = job(photos, tmp_path / "stopped", **settings)
    for steps in (1, 4):
        stopped_after(found, steps)
    last = trained(found)[-1]
    assert isinstance(last, Learned) and last.fresh == 1, "it did not go on from the checkpoint"
    assert files(found) == files(whole)
    assert not list(Path(found.store, "checkpoints").glob("*"))
    assert json.loads(Path(found.store, "manifest.json").read_text())["accuracy"].keys() == {"0", "2"}
