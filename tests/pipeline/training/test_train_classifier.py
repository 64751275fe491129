"""Classifiers trained, stored, interrupted, refused, and used by a campaign."""

import copy
import hashlib
import json
import math
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
import torch
from safetensors.torch import load_file

from bart import TRANSFORMS, Barrage, Mirror, rng
from pipeline.campaigns.job import opened
from pipeline.config.campaign import Data
from pipeline.config.classifier_training import Barrages, ClassifierTraining, Optimizer
from pipeline.config.fields import Share
from pipeline.data import shards
from pipeline.data.loader import Feed
from pipeline.data.pack import pack
from pipeline.data.training_images import Images
from pipeline.errors import BadInput, Drained
from pipeline.models import weights
from pipeline.store import formats
from pipeline.store.rows import results
from pipeline.training.classifier_job import UNIT, prepare
from pipeline.training.classifier_trainer import ClassifierProgress, ClassifierTrained, ClassifierTrainer, Evaluated
from pipeline.training.process_group import Group
from pipeline.training.ray_train import members
from pipeline.training.steps import Steps, optimizer, rate
from tests.support import tiny
from tests.support.campaigns import command
from tests.support.processes import PATIENCE, until

CPU = torch.device("cpu")
PGD = {"eps": "8/255", "steps": 2, "step_size": "4/255"}
QUICK = ["color_precision", "grey_mix", "gaussian_blur", "hsv", "zoom"]
MODES = {
    "plain": {},
    "bart": {"barrage": {"k": [0, 3], "transforms": QUICK, "ramp": 3}},
    "adversarial": {"attack": PGD},
    "advrt": {"barrage": {"k": 2, "transforms": QUICK}, "attack": PGD | {"eot_draws": 2}},
}


def content(photos, **changes):
    told = {"kind": "classifier", "name": "net", "data": {"shards": photos, "resize": None, "crop": 32}, "held_out": 4}
    told |= {"model": {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES, "weights": "random"}}
    told |= {"epochs": 1.8, "batch": 6, "evaluation": {"k": [0, 2], "every": 4}, "precision": "float32"}
    return told | {"optimizer": {"learning_rate": 0.01}} | changes


def job(photos, store, **changes):
    return prepare(ClassifierTraining.model_validate(content(photos, **changes)), str(store))


def trained(found, drain=None):
    """Events of a training in this process."""
    return list(ClassifierTrainer(found, CPU, drain or threading.Event())(UNIT))


def stopped_after(found, steps):
    """A training that is told to leave, of which only the files remain."""
    drain = threading.Event()
    learner = ClassifierTrainer(found, CPU, drain)
    source = learner.feed.batches

    def batches(*arguments):
        for count, batch in enumerate(source(*arguments), 1):
            if count == steps:
                drain.set()
            yield batch

    learner.feed.batches = batches
    with pytest.raises(Drained):
        list(learner(UNIT))


def finished(running, patience=PATIENCE):
    """What a command says until its end; it is ended if that takes too long."""
    try:
        return running.communicate(timeout=patience)[0]
    finally:
        running.kill()


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
    assert whole.steps == 6 and [event.step for event in events if isinstance(event, Evaluated)] == [4, 6]
    found = job(photos, tmp_path / "stopped", **settings)
    for steps in (1, 4):
        stopped_after(found, steps)
    last = trained(found)[-1]
    assert isinstance(last, ClassifierTrained) and last.fresh == 1, "it did not go on from the checkpoint"
    assert files(found) == files(whole)
    assert not list(Path(found.store, "checkpoints").glob("*"))
    assert json.loads(Path(found.store, "manifest.json").read_text())["accuracy"].keys() == {"0", "2"}


def test_a_damaged_or_a_foreign_checkpoint_costs_time_and_nothing_else(photos, tmp_path):
    whole = job(photos, tmp_path / "whole")
    trained(whole)
    for name in ("damaged", "foreign"):
        found = job(photos, tmp_path / name)
        stopped_after(found if name == "damaged" else job(photos, tmp_path / name, seed=9), 3)
        if name == "damaged":
            path = tmp_path / name / "checkpoints" / "model.safetensors"
            data = bytearray(path.read_bytes())
            data[-5] ^= 1
            path.write_bytes(bytes(data))
        assert trained(found)[-1].fresh == 6
        assert files(found) == files(whole)


@pytest.mark.slow
def test_killed_between_any_two_steps_the_same_command_gives_the_same_files(photos, tmp_path, write):
    told = content(photos, epochs=30, checkpoint_seconds=0.05, **MODES["bart"] | {"evaluation": {"k": [0]}})
    told["model"]["architecture"] = "tests.support.tiny:slow_network"
    path, store = write(told), tmp_path / "store"
    running = command(path, store, "train", "--here")
    until((store / "checkpoints" / "model.safetensors").exists, "a checkpoint")
    running.kill()
    running.communicate(timeout=PATIENCE)
    assert not (store / "model.safetensors").exists()
    running = command(path, store, "train", "--here")
    output = finished(running)
    assert running.returncode == 0 and "trained: " in output and "trained: 100 steps" not in output, output
    told["model"]["architecture"] = "tests.support.tiny:network"
    quiet = job(photos, tmp_path / "quiet", **{key: told[key] for key in ("epochs", "barrage", "evaluation", "model")})
    assert quiet.steps == 100
    trained(quiet)
    a, b = (load_file(Path(folder, "model.safetensors")) for folder in (store, quiet.store))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b)


# --- what is learnt


def plain_steps(photos, told, steps, teacher=None):
    """The first steps of a training as a loop of its own: keyed draws, batch statistics, Nesterov's momentum."""
    data = Data(shards=[photos], resize=None, crop=32)
    source = Images([shards.inspect(path) for path in shards.paths(data)], data, told.seed, told.held_out)
    net, normal = tiny.network(), transforms(told)
    mean = {name: value.clone() for name, value in net.state_dict().items()}
    sgd = torch.optim.SGD(net.parameters(), 0.02, momentum=0.8, nesterov=True)
    for step in range(steps):
        batch = source.read(source.places(step, told.batch))
        x = torch.stack([torch.from_numpy(image.pixels) for image in batch]).float() / 255
        label = torch.tensor([image.label for image in batch])
        keys = torch.tensor([rng.key(told.seed, "image", image.key) for image in batch])
        keys = rng.fold(rng.fold(keys, "step"), step)
        shown = x
        if told.barrage:
            barrage = Barrage(told.barrage.k[1], told.barrage.transforms, told.barrage.k[0])
            shown = barrage.apply(x, barrage.draw(Mirror.of(keys, "cpu").map(rng.fold, "lesson"), (32, 32)))
        z = net.train()(normal(shown))
        loss = torch.nn.functional.cross_entropy(z, label, label_smoothing=told.label_smoothing)
        if teacher:
            with torch.no_grad():
                theirs = teacher(normal(x)).softmax(1)
            loss = 0.25 * loss + 0.75 * (theirs * (theirs.log() - z.log_softmax(1))).sum(1).mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        mean = {name: told.average * mean[name] + (1 - told.average) * value for name, value in net.state_dict().items()}
    return mean


def transforms(told):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return lambda x: (x - mean) / std


@pytest.mark.parametrize("case", ["plain", "bart", "distilled", "averaged"])
def test_the_first_steps_are_those_of_a_plain_loop(photos, tmp_path, case):
    changes = {"label_smoothing": 0.2} | (MODES["bart"] if case != "plain" else {})
    changes = copy.deepcopy(changes)
    changes.get("barrage", {}).pop("ramp", None)
    if case == "distilled":
        changes["distill"] = {"weight": 0.75}
    model = {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES}
    changes["average"] = 0.6 if case == "averaged" else 0.0
    changes["optimizer"] = {"kind": "sgd", "learning_rate": 0.02, "momentum": 0.8}
    found = job(photos, tmp_path, epochs=0.9, model=model, seed=4, **changes)
    assert found.steps == 3
    trained(found)
    ours = load_file(tmp_path / "model.safetensors")
    teacher = tiny.network().eval() if case == "distilled" else None
    expected = plain_steps(photos, found.training, 3, teacher)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):  # a count, of which there is no mean
            continue
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_the_accuracy_is_that_of_the_stored_weights(photos, tmp_path):
    """On all images, most of which it was trained on, so that it is neither 0 nor 1."""
    data = {"shards": photos, "resize": None, "crop": 32}
    many = {"epochs": 60, "optimizer": {"learning_rate": 0.05}, "average": 0.7}
    found = job(photos, tmp_path, evaluation={"data": data, "k": [0, 3], "draws": 4}, **many)
    told = trained(found)[-1].manifest["accuracy"]
    source = Images(found.shards, Data.model_validate(data), 0, 0)
    batch = source.read(source.every)
    x = torch.stack([torch.from_numpy(image.pixels) for image in batch]).float() / 255
    label = torch.tensor([image.label for image in batch])
    net = tiny.network().eval()
    net.load_state_dict(load_file(tmp_path / "model.safetensors"))
    keys, right = torch.tensor([rng.key(0, "image", image.key) for image in batch]), []
    with torch.no_grad():
        assert told["0"] == pytest.approx((net(transforms(found)(x)).argmax(1) == label).float().mean().item())
        for draw in range(4):
            drawn = Barrage(3).draw(Mirror.of(rng.fold(rng.fold(keys, "evaluation"), draw), "cpu"), (32, 32))
            right.append((net(transforms(found)(Barrage(3).apply(x, drawn))).argmax(1) == label).sum().item())
    assert told["3"] == pytest.approx(sum(right) / 96) and len(set(right)) > 1 and told["0"] > 0.5


def test_accuracy_without_other_images_is_on_those_kept_out(photos, tmp_path):
    found = ClassifierTrainer(job(photos, tmp_path, held_out=8), CPU, threading.Event())
    assert sorted(found.places) == sorted(found.feed.images.held_out.tolist()) and len(found.places) == 8
    assert not set(found.places) & {place for step in range(9) for place in found.feed.images.places(step, 6)}


def test_training_learns_and_frozen_statistics_stay(photos, tmp_path):
    many = {"epochs": 60, "optimizer": {"learning_rate": 0.05}}
    found = job(photos, tmp_path / "a", **many)
    *_, last = [event.loss for event in trained(found) if isinstance(event, ClassifierProgress)]
    curve = pandas.read_parquet(tmp_path / "a" / "curves.parquet")
    assert curve.loss[-20:].mean() < 0.5 * curve.loss[:5].mean() and curve.train_accuracy[-20:].mean() > 0.7
    assert curve.step.tolist() == list(range(1, 201)) and curve.accuracy_k0.notna().sum() == 50
    assert last == pytest.approx(curve.loss.iloc[-1])
    model = {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES}
    trained(job(photos, tmp_path / "b", batch_norm="frozen", model=model))
    ours, before = load_file(tmp_path / "b" / "model.safetensors"), tiny.network().state_dict()
    assert torch.equal(ours["1.running_mean"], before["1.running_mean"])
    assert not torch.equal(ours["1.weight"], before["1.weight"]) and not torch.equal(ours["0.weight"], before["0.weight"])


def test_parts_of_a_batch_add_up_to_the_whole(photos, tmp_path):
    model = {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES}
    settings = MODES["bart"] | {"batch_norm": "frozen", "model": model}
    for parts in (1, 4):
        trained(job(photos, tmp_path / str(parts), accumulate=parts, **settings))
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("1", "4"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-5)


def test_images_on_the_device_and_images_from_the_shards_give_the_same_files(photos, tmp_path, monkeypatch):
    settings = MODES["bart"] | {"augment": {"margin": 2}}
    kept = job(photos, tmp_path / "kept", **settings)
    trained(kept)
    monkeypatch.setattr("pipeline.data.loader.HOST_BYTES", 0)
    streamed = job(photos, tmp_path / "streamed", **settings)
    learner = ClassifierTrainer(streamed, CPU, threading.Event())
    assert not learner.feed.resident and not learner.held_out.resident
    list(learner(UNIT))
    assert files(kept) == files(streamed)


def test_images_that_can_not_be_read_are_left_out_of_their_batch(tmp_path):
    paths = [(tmp_path / f"{i}.png", i % 3) for i in range(12)]
    for i, (path, _) in enumerate(paths):
        path.write_bytes(tiny.picture(i) if i % 4 else tiny.picture(i)[:200])
    pack(paths, tmp_path / "shards", "bad", per_shard=12)
    pattern = str(tmp_path / "shards" / "bad-000000.tar")
    for resident in (True, False):
        data = Data(shards=[pattern], resize=None, crop=32)
        feed = Feed(Images([shards.inspect(Path(pattern))], data, 0, 2), CPU, 0, resident)
        found = [batch for batch in feed.batches(0, 4, 5) if batch]
        every = [feed.at([place]) for place in range(12)]
        assert [batch is None for batch in every] == [i % 4 == 0 for i in range(12)]
        assert found and all(len(batch.label) == len(batch.pixels) == len(batch.keys.host) < 6 for batch in found)
        assert [int(batch.label) for batch in every if batch] == [i % 3 for i in range(12) if i % 4]


def test_the_rate_and_the_number_of_transforms_follow_their_schedules():
    told = Optimizer(learning_rate=0.4, schedule="cosine", warm_up=4)
    found = [rate(told, step, 104) for step in range(104)]
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4]) and found[54] == pytest.approx(0.2)
    assert found[29] == pytest.approx(0.2 * (1 + math.cos(math.pi / 4))) and 0 < found[-1] < 1e-3
    assert [rate(told.model_copy(update={"schedule": "constant"}), step, 9) for step in (3, 8)] == [0.4, 0.4]
    barrages = Barrages(k=(1, 4), ramp=8)
    assert [barrages.at(step).k for step in (0, 1, 2, 3, 4, 5, 6, 7, 8, 99)] == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4]
    assert {barrages.at(step).fewest for step in range(9)} == {1}
    assert Barrages(k=3).at(0).k == Barrages(k=3).at(0).fewest == 3


def test_the_attack_inside_is_the_one_of_adversarial_training(photos):
    def inside(**attack):
        return (
            ClassifierTraining.model_validate(content(photos, barrage={"k": [0, 2]}, attack={"eps": "8/255"} | attack))
            .lesson(0)
            .attack
        )

    pgd, fgsm = inside(eot_draws=3), inside(kind="fgsm")
    assert (pgd.steps, pgd.momentum, pgd.random_start, pgd.eot.draws, pgd.step_size) == (10, 0, True, 3, pytest.approx(2 / 255))
    assert (fgsm.steps, fgsm.random_start, fgsm.eot.draws, fgsm.step_size) == (1, True, 1, pytest.approx(8 / 255))


def test_optimisers_are_torchs_and_decay_no_bias():
    net = tiny.network()
    for kind, made in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        found = optimizer(net, Optimizer(kind=kind, weight_decay=0.1))
        assert type(found) is made
        assert {group["weight_decay"]: len(group["params"]) for group in found.param_groups} == {0.1: 3, 0.0: 5}
    assert found.param_groups[0]["nesterov"] and found.param_groups[0]["momentum"] == 0.9


# --- the file


def campaign(pattern, weights, **model):
    told = {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES, "weights": str(weights)} | model
    return tiny.campaign(pattern, models={"net": told})


def test_a_campaign_takes_the_weights_and_their_preprocessing(photos, pattern, tmp_path, barrage, write):
    model = {
        "architecture": "tests.support.tiny:network",
        "classes": tiny.CLASSES,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.6, 0.7],
    }
    path, folder = write(content(photos, model=model, store_as="float16"), "train.yaml"), tmp_path / "trained"
    code, out, err = barrage("train", path, "--here", "--store", folder)
    assert code == 0 and "accuracy on images held out k=0" in err and "images/s, bare training" in err and "curves.png" in out
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / "model.safetensors").read_bytes()
    assert manifest["sha256"] == hashlib.sha256(data).hexdigest() and manifest["model"]["mean"] == [0.1, 0.2, 0.3]
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {torch.float16, torch.int64}
    assert manifest["training"]["file"]["data"]["shards"] == [photos] and manifest["training"]["steps"] == 6
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name == "model.safetensors"}
    assert barrage("train", path, "--here", "--store", folder)[0] == 0, "there is nothing left to do"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    told = campaign(pattern, folder / "model.safetensors")
    assert barrage("run", write(told), "--here", "--store", tmp_path / "store")[0] == 0
    found = opened(str(tmp_path / "store")).campaign.models["net"]
    assert (found.mean, found.std, found.sha256) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), manifest["sha256"])
    rows = results(str(tmp_path / "store")).to_pylist()
    net, row = tiny.network().eval(), next(r for r in rows if r["defense"] == "none" and r["image_key"] == "image3")
    net.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    x = torch.from_numpy(shards.decode(tiny.picture(3), None, 32)).float()[None] / 255
    with torch.no_grad():
        z = net((x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1))
    assert row["clean_top5"][0] == z.topk(5).indices[0].tolist()


@pytest.fixture(scope="module")
def weights_file(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    trained(job(photos, folder))
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architecture": "resnet18_cifar"}, "architecture tests.support.tiny:network, asked for is resnet18_cifar"),
        ({"classes": 9}, "classes 10, asked for is 9"),
        ({"mean": [0.5, 0.5, 0.5]}, "mean [0.485, 0.456, 0.406]"),
        ({"sha256": "0" * 64}, "expected " + "0" * 64),
    ],
)
def test_weights_of_another_model_are_refused(pattern, weights_file, tmp_path, barrage, write, changes, named):
    code, _, err = barrage("run", write(campaign(pattern, weights_file, **changes)), "--here", "--store", tmp_path / "store")
    said = [line for line in err.splitlines() if not line.startswith("reading ")]
    assert code == 2 and len(said) == 1 and named in said[0], err
    assert not (tmp_path / "store").exists()


BAD = {
    "unknown key": ({"epoch": 3}, "did you mean 'epochs'"),
    "unknown key of a section": ({"barrage": {"k": 3, "rampp": 1}}, "did you mean 'ramp'"),
    "k outside 0 to 10": ({"barrage": {"k": [0, 11]}}, "k = 11"),
    "k upside down": ({"barrage": {"k": [4, 2]}}, "fewest = 4"),
    "k of the evaluation": ({"evaluation": {"k": [12]}}, "k = 12"),
    "no passes": ({"epochs": 0}, "epochs: 0"),
    "nothing kept out": ({"held_out": 0}, "nothing to evaluate on"),
    "more parts than images": ({"accumulate": 7}, "7 parts of a batch of 6"),
    "missing shard": ({"data": {"shards": "none/x.tar"}}, "none/x.tar"),
    "too few images": ({"batch": 21}, "24 images, expected at least 25"),
    "labels that do not fit": ({"model": {"architecture": "tests.support.tiny:network", "classes": 9}}, "holds the label 9"),
    "too few classes": ({"model": {"architecture": "tests.support.tiny:network", "classes": 11}}, "has 10 classes"),
    "a random teacher": ({"distill": {}}, "can't be a teacher"),
    "random weights as a name": ({"model": {"architecture": "resnet18_cifar"}}, "has no weights"),
    "missing weights": ({"model": {"architecture": "resnet18_cifar", "weights": "none/x.pt"}}, "none/x.pt do not exist"),
    "an attack of a campaign": ({"attack": PGD | {"transfer": True}}, "leave them out"),
    "an unknown attack": ({"attack": {"kind": "square", "eps": 0.1}}, "square"),
    "an unknown kind": ({"kind": "clasifier"}, "the kind 'clasifier': expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2_before_work(photos, tmp_path, barrage, write, case):
    changes, named = BAD[case]
    code, _, err = barrage("train", write(content(photos, **changes)), "--here", "--store", tmp_path / "store")
    said = [line for line in err.splitlines() if "for the first" not in line and line != "time"]
    assert code == 2 and named in err and said[-1].startswith("barrage: "), err
    assert not (tmp_path / "store").exists()


def test_a_store_of_another_training_is_refused(photos, weights_file, tmp_path):
    shutil.copytree(weights_file.parent, tmp_path / "store")
    assert job(photos, tmp_path / "store").todo() == []
    with pytest.raises(BadInput, match="another training"):
        job(photos, tmp_path / "store", epochs=2)


def test_the_identity_is_of_what_decides_the_weights_and_of_nothing_else(photos, tmp_path):
    usual = job(photos, tmp_path).identity
    for same in ({"workers": {"cpus": 2}}, {"checkpoint_seconds": 1}, {"name": "other"}, {"evaluation": {"k": [1]}}):
        assert job(photos, tmp_path, **same).identity == usual, same
    data = content(photos)["data"]
    others = [{"seed": 1}, {"epochs": 3}, {"batch": 4}, {"held_out": 6}, {"barrage": {}}, {"attack": PGD}, {"shuffle": 3},
              {"optimizer": {"learning_rate": 0.02}}, {"average": 0.5}, {"precision": "bfloat16"}, {"store_as": "float16"},
              {"data": data | {"crop": 33}}, {"data": data | {"limit": 20}}]  # fmt: skip
    assert len({usual, *(job(photos, tmp_path, **other).identity for other in others)}) == len(others) + 1


def test_definitions_enter_the_identity_where_their_version_is_not_the_first(photos, tmp_path, monkeypatch):
    barrage = {"k": 2, "transforms": ["jpeg", "grey_mix"]}
    plain, behind = job(photos, tmp_path), job(photos, tmp_path, barrage=barrage, attack=PGD)
    assert plain.versions == {}
    assert behind.versions["transforms"] == {"jpeg": 1, "grey_mix": 1} and behind.versions["attacks"] == {"pgd": 1}
    before, usual = plain.identity, behind.identity
    monkeypatch.setitem(TRANSFORMS.builtin, "grey_mix", replace(TRANSFORMS["grey_mix"], version=2))
    assert plain.identity == before and behind.identity != usual
    assert behind.versions["transforms"]["grey_mix"] == 2


def test_a_model_of_a_later_format_is_refused(photos, weights_file, tmp_path, monkeypatch):
    later = {"format": formats.FORMAT + 1, "release": "9.9"}
    data = weights_file.read_bytes()
    assert json.loads((weights_file.parent / "manifest.json").read_text())["format"] == formats.FORMAT
    manifest = weights.manifest_of("model", data)
    assert "format" not in manifest and manifest["training"]["definitions"] == job(photos, tmp_path).versions
    (tmp_path / "store").mkdir()
    monkeypatch.setattr(formats, "stamp", lambda: later)
    (tmp_path / "store" / weights.FILE).write_bytes(weights.encode(manifest, load_file(weights_file)))
    with pytest.raises(BadInput, match="model.safetensors has format .*read it with barrage 9.9"):
        job(photos, tmp_path / "store")


@pytest.mark.parametrize(
    ("room", "gpus", "count", "workers"), [(8, False, None, 1), (8, True, None, 8), (8, False, 3, 3), (2, False, 3, 0)]
)
def test_there_is_a_worker_a_gpu_unless_told(room, gpus, count, workers):
    share = Share(count=count)
    if workers:
        assert members(share, gpus, room) == workers
    else:
        with pytest.raises(BadInput, match="count is 3, there is room for 2"):
            members(share, gpus, room)


@pytest.mark.slow
def test_two_workers_on_ray_train_take_the_steps_of_one(photos, tmp_path, write):
    model = {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES}
    told = content(photos, epochs=12, batch_norm="frozen", model=model, workers={"count": 2, "cpus": 0.5}, accumulate=2)
    told |= copy.deepcopy(MODES["bart"])
    running = command(write(told), tmp_path / "two", "train")
    output = finished(running, 3 * PATIENCE)
    assert running.returncode == 0 and "trained: 40 steps" in output, output
    trained(job(photos, tmp_path / "one", **{k: v for k, v in told.items() if k not in ("kind", "name", "data", "held_out")}))
    one, two = (pandas.read_parquet(tmp_path / name / "curves.parquet") for name in ("one", "two"))
    assert (one.loss - two.loss).abs().max() < 1e-4 and (one.train_accuracy - two.train_accuracy).abs().max() < 1e-6
    assert one.accuracy_k2.dropna().tolist() == two.accuracy_k2.dropna().tolist()
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_through_the_barrage_never_waits_for_the_device(photos, tmp_path):
    found = job(photos, tmp_path, barrage={"k": [0, 5]}, augment={"pad": 2}, precision="auto", average=0.9, accumulate=2)
    learner = ClassifierTrainer(found, torch.device("cuda"), threading.Event())
    steps = Steps(found.training, 40, torch.device("cuda"), Group())
    batches = learner.feed.batches(0, 40, 6)
    for step in range(30):  # every transform is compiled
        steps.take(next(batches), step)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(30, 36):
            steps.take(next(batches), step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
