"""Networks trained, stored, interrupted, refused, and used by a campaign."""

import json
import os
import signal
import threading
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from bart import TRANSFORMS, BpdaNet, Gradient, rng
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.verification.verify import verify
from pipeline.config.bpda_training import BpdaTraining, load
from pipeline.config.campaign import Data, parse
from pipeline.data import shards, training_images
from pipeline.data.pack import pack
from pipeline.data.training_images import Images
from pipeline.errors import BadInput, Drained
from pipeline.execution import LocalExecutor
from pipeline.models import bpda_networks
from pipeline.store import formats
from pipeline.store.layout import Store
from pipeline.store.rows import results
from pipeline.training.bpda_job import prepare as prepare_training
from pipeline.training.bpda_trainer import BpdaTrainer, NetworkTrained, begin_bpda
from pipeline.training.unit import TrainingUnit
from tests.support import tiny
from tests.support.campaigns import command
from tests.support.processes import PATIENCE, actors, until

CPU = torch.device("cpu")


def content(photos, **changes):
    told = {
        "kind": "bpda",
        "name": "nets",
        "data": {"shards": photos, "resize": None, "crop": 32},
        "transforms": ["grey_mix", "clahe"],
    }
    return told | {"steps": 6, "batch": 3, "held_out": 5, "learning_rate": 0.005} | changes


def job(photos, store, **changes):
    return prepare_training(BpdaTraining.model_validate(content(photos, **changes)), str(store))


def trained(found, name="grey_mix", drain=None):
    """Events of one training in this process."""
    return list(BpdaTrainer(found, CPU, drain or threading.Event())(TrainingUnit(name)))


@pytest.fixture(scope="module")
def nets(photos, tmp_path_factory):
    """A folder with the networks of the two transforms of the tiny campaign's `two` defense."""
    folder = tmp_path_factory.mktemp("nets")
    found = job(photos, folder, transforms=["color_precision", "grey_mix"])
    for unit in found.todo():
        trained(found, unit.name)
    bpda_networks.write_manifest(folder)
    return folder


def copied(folder, to):
    to.mkdir()
    for path in Path(folder).glob("[!.]*.*"):
        (to / path.name).write_bytes(path.read_bytes())
    return to


# --- the images


def images(photos, held_out=5, limit=None, **changes):
    data = Data(shards=[photos], resize=None, crop=32, limit=limit)
    return Images([shards.inspect(path) for path in shards.paths(data)], data, changes.get("seed", 0), held_out)


def test_every_pass_brings_every_image_that_is_not_kept_out_once(photos):
    found = images(photos)
    held = found.held_out.tolist()
    assert len(set(held)) == 5
    rest = sorted(set(range(24)) - set(held))
    every = [place for step in range(19) for place in found.places(step, 3)]  # 57 images: three passes of 19
    passes = [every[i : i + 19] for i in (0, 19, 38)]
    assert all(sorted(one) == rest for one in passes)
    assert passes[0] != passes[1] != passes[2] and passes[0] != rest
    assert images(photos).places(7, 3) == found.places(7, 3)
    assert images(photos, seed=1).places(7, 3) != found.places(7, 3)


def test_a_limit_takes_the_first_images(photos):
    found = images(photos, held_out=4, limit=13)
    assert set(found.held_out.tolist()) | set(found.order(0).tolist()) == set(range(13)) and len(found.order(0)) == 9


def test_images_are_those_of_the_shards_however_little_memory_there_is(photos, monkeypatch):
    plain = images(photos)
    samples = [sample for shard in plain._shards for sample in shards.read(shard, range(shard.images))]
    wanted = [plain.places(step, 3) for step in range(14)]
    monkeypatch.setattr(training_images, "WINDOW", 6)
    monkeypatch.setattr(training_images, "CACHE_BYTES", 2 * 3 * 32 * 32)
    tight = images(photos)
    for batch, places in zip((tight.read(places) for places in wanted), wanted, strict=True):
        for image, place in zip(batch, places, strict=True):
            assert (image.key, image.label) == (samples[place].key, samples[place].label)
            assert np.array_equal(image.pixels, shards.decode(samples[place].image, None, 32))
        assert len(tight._decoded) <= 2 and sum(map(len, tight._encoded.values())) <= 12


def test_small_windows_shuffle_shards_and_images_within(photos, monkeypatch):
    monkeypatch.setattr(training_images, "WINDOW", 10)
    found = images(photos, held_out=1)
    shard_of = [place // 10 for place in found.order(0).tolist()]
    assert sum(a != b for a, b in pairwise(shard_of)) == 2, "a shard is read once a pass"
    orders = {tuple(dict.fromkeys(place // 10 for place in found.order(turn).tolist())) for turn in range(12)}
    assert len(orders) > 1


def test_images_that_can_not_be_read_are_left_out(tmp_path, photos):
    files = [(tmp_path / f"{i}.png", 0) for i in range(4)]
    for i, (path, _) in enumerate(files):
        path.write_bytes(tiny.picture(i) if i != 2 else tiny.picture(i)[:200])
    pack(files, tmp_path / "shards", "bad", per_shard=10)
    found = images(str(tmp_path / "shards" / "bad-000000.tar"), held_out=1)
    assert len(found.read([0, 1, 2, 3])) == 3 == len(found.read([2, 3, 0, 1]))
    pattern = str(tmp_path / "shards" / "bad-000000.tar")
    with pytest.raises(ValueError, match="none of the 1 images"):
        trained(job(pattern, tmp_path / "one", held_out=1, batch=2))  # it is the damaged one
    assert trained(job(pattern, tmp_path / "two", held_out=2, batch=2))[-1].entry.held_out == 1


# --- the training


def test_the_first_steps_are_those_of_a_plain_loop(photos, tmp_path):
    """Adam on the squared error of the transform's output, with parameters of seed, transform, step and image."""
    found = job(photos, tmp_path, steps=3, seed=4)
    trained(found)
    ours, source = load_file(tmp_path / "grey_mix.safetensors"), images(photos, seed=4)
    net = BpdaNet("grey_mix", rng.key(4, "weights", "grey_mix")).train()
    adam, transform = torch.optim.Adam(net.parameters(), 0.005), TRANSFORMS["grey_mix"]
    for step in range(3):
        batch = source.read(source.places(step, 3))
        x = torch.stack([torch.from_numpy(image.pixels) for image in batch]).float() / 255
        params = transform.draw(torch.tensor([rng.key(4, "grey_mix", "step", step, image.key) for image in batch]), (32, 32))
        loss = (net(x, transform.conditioning(params, (32, 32))) - transform.apply(x, params)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert ours.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_the_loss_falls_far_below_the_identitys_where_a_transform_can_be_learnt(photos, tmp_path):
    (*_, last) = trained(job(photos, tmp_path, steps=120, batch=2))
    assert isinstance(last, NetworkTrained) and last.fresh == 120
    entry = last.entry
    assert entry.error < 0.4 * entry.identity_error and entry.train_error < 0.6 * entry.identity_error
    assert 0.1 < entry.cosine < entry.identity_cosine, "a low error does not mean a good gradient"


def test_an_entry_holds_what_was_measured(photos, tmp_path):
    found = job(photos, tmp_path)
    entries = {name: trained(found, name)[-1].entry for name in ("grey_mix", "clahe")}
    entry, transform, source = entries["grey_mix"], TRANSFORMS["grey_mix"], images(photos)
    batch = source.read(source.held_out.tolist())
    x = torch.stack([torch.from_numpy(image.pixels) for image in batch]).float() / 255
    keys = torch.tensor([rng.key(0, "grey_mix", "held out", image.key) for image in batch])
    params = transform.draw(keys, (32, 32))
    y, net = transform.apply(x, params), BpdaNet("grey_mix").eval()
    net.load_state_dict(load_file(tmp_path / "grey_mix.safetensors"))
    told = transform.conditioning(params, (32, 32))
    assert entry.error == pytest.approx((net(x, told) - y).square().mean().item(), rel=1e-4)
    assert entry.identity_error == pytest.approx((x - y).square().mean().item(), rel=1e-5)
    v = rng.normal_field(torch.tensor([rng.key(0, "grey_mix", "cotangent", image.key) for image in batch]), (3, 32, 32))
    leaf = x.clone().requires_grad_()
    exact = torch.autograd.grad(transform.apply(leaf, params), leaf, v)[0].flatten(1)
    ours = torch.autograd.grad(net(leaf, told), leaf, v)[0].flatten(1)

    def cosine(a, b):
        return ((a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)).mean().item()

    assert entry.cosine == pytest.approx(cosine(ours, exact), abs=1e-4)
    assert entry.identity_cosine == pytest.approx(cosine(v.flatten(1), exact), abs=1e-5)
    assert TRANSFORMS["clahe"].gradient is Gradient.NONE
    assert entries["clahe"].cosine is None and entries["clahe"].identity_cosine is None
    assert (entry.maxima, entry.size, entry.steps, entry.held_out) == ({"ratio": 1}, 32, 6, 5)


def stopped_after(found, steps, name="grey_mix"):
    """A training that is told to leave, and that is killed without a word afterwards: only its files remain."""
    drain = threading.Event()
    trainer = BpdaTrainer(found, CPU, drain)
    trainer.images.batches = counted(trainer.images.batches, steps, drain)
    with pytest.raises(Drained):
        list(trainer(TrainingUnit(name)))


def counted(source, steps, drain):
    def batches(*arguments):
        for count, batch in enumerate(source(*arguments), 1):
            if count == steps:
                drain.set()
            yield batch

    return batches


@pytest.mark.parametrize("stops", [(1,), (4,), (2, 2, 1)])
def test_a_resumed_training_gives_the_same_file_bit_for_bit(photos, tmp_path, stops):
    whole = job(photos, tmp_path / "whole", transforms=["median"], seed=2)
    trained(whole, "median")
    found = job(photos, tmp_path / "stopped", transforms=["median"], seed=2)
    for steps in stops:
        stopped_after(found, steps, "median")
    last = trained(found, "median")[-1]
    assert last.fresh == 6 - sum(stops), "it did not go on from the checkpoint"
    a, b = (Path(j.store, "median.safetensors").read_bytes() for j in (whole, found))
    assert a == b
    assert not list(Path(found.store, "checkpoints").glob("*"))


def test_a_damaged_or_a_foreign_checkpoint_costs_time_and_nothing_else(photos, tmp_path):
    trained(job(photos, tmp_path / "whole"))
    for name in ("damaged", "foreign"):
        found = job(photos, tmp_path / name)
        stopped_after(found if name == "damaged" else job(photos, tmp_path / name, seed=9), 3)
        if name == "damaged":
            path = tmp_path / name / "checkpoints" / "grey_mix.safetensors"
            data = bytearray(path.read_bytes())
            data[-5] ^= 1
            path.write_bytes(bytes(data))
        assert trained(found)[-1].fresh == 6
        assert (tmp_path / name / "grey_mix.safetensors").read_bytes() == (tmp_path / "whole/grey_mix.safetensors").read_bytes()


def test_a_transforms_network_does_not_depend_on_the_others(photos, tmp_path):
    both, one = job(photos, tmp_path / "both"), job(photos, tmp_path / "one", transforms=["clahe"])
    list(LocalExecutor(begin_bpda).execute(both, both.todo(), threading.Event()))
    trained(one, "clahe")
    assert (tmp_path / "both/clahe.safetensors").read_bytes() == (tmp_path / "one/clahe.safetensors").read_bytes()
    assert job(photos, tmp_path / "one").todo() == [TrainingUnit("grey_mix")]


def test_the_command_trains_writes_the_manifest_and_does_nothing_twice(photos, tmp_path, barrage, write):
    store = tmp_path / "store"
    code, out, err = barrage("train", write(content(photos)), "--here", "--store", store)
    assert code == 0 and "grey_mix" in out and "clahe" in out and "2/2 transforms" in err
    found = json.loads((store / "manifest.json").read_text())["networks"]
    assert {entry["transform"] for entry in found} == {"grey_mix", "clahe"}
    assert all(len(entry["sha256"]) == 64 for entry in found) and len({entry["data"] for entry in found}) == 1
    files = {path: path.stat().st_mtime_ns for path in store.glob("*.safetensors")}
    (store / "manifest.json").unlink()  # the driver died before it
    assert barrage("train", write(content(photos)), "--here", "--store", store)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in store.glob("*.safetensors")} == files
    assert json.loads((store / "manifest.json").read_text())["networks"] == found
    code, _, err = barrage("train", write(content(photos, steps=7)), "--here", "--store", store)
    assert code == 2 and "another training" in err and len(err.splitlines()) == 1


def test_on_ray_a_killed_actor_is_replaced_and_the_networks_are_the_same(photos, tmp_path, write):
    slow = content(photos, steps=80, checkpoint_seconds=0.1, workers={"count": 1}, transforms=["jpeg"])
    path, store = write(slow), tmp_path / "store"
    running = command(path, store, "train")
    until(lambda: list((store / "checkpoints").glob("[!.]*")), "a first checkpoint")
    victim = until(lambda: actors(running.pid), "an actor")[0]
    os.kill(victim, signal.SIGKILL)
    output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0 and "back to the queue" in output, output
    quiet = job(photos, tmp_path / "quiet", **{key: slow[key] for key in ("transforms", "steps")})
    trained(quiet, "jpeg")
    a, b = (load_file(folder / "jpeg.safetensors") for folder in (store, tmp_path / "quiet"))
    assert all(torch.equal(a[name], b[name]) for name in b)


BAD = {
    "unknown key": ({"stepps": 3}, "did you mean 'steps'"),
    "unknown key of data": ({"data": {"shards": "x.tar", "corp": 3}}, "did you mean 'crop'"),
    "unknown transform": ({"transforms": ["gray_mix"]}, "grey_mix"),
    "no transform": ({"transforms": []}, "transforms"),
    "a transform twice": ({"transforms": ["jpeg", "jpeg"]}, "twice"),
    "no steps": ({"steps": 0}, "steps: 0"),
    "a batch of one": ({"batch": 1}, "batch"),
    "missing shard": ({"data": {"shards": "none/x.tar"}}, "none/x.tar"),
    "too few images": ({"held_out": 22}, "24 images, expected at least 25"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2_before_work(photos, tmp_path, barrage, write, case):
    changes, named = BAD[case]
    code, _, err = barrage("train", write(content(photos, **changes)), "--here", "--store", tmp_path / "store")
    said = [line for line in err.splitlines() if "for the first" not in line and line != "time"]
    assert code == 2 and named in err and said[-1].startswith("barrage: "), err
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_no_training_is_refused(tmp_path, write):
    with pytest.raises(BadInput, match="does not exist"):
        load(tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="mapping"):
        load(write(["a", "list"]))
    with pytest.raises(BadInput, match="steps: is missing"):
        load(write({"kind": "bpda", "name": "x", "data": {"shards": "x.tar"}}))


def test_the_identity_is_of_what_decides_the_weights_and_of_nothing_else(photos, tmp_path):
    usual = job(photos, tmp_path).identity
    for same in ({"transforms": ["jpeg"]}, {"workers": {"cpus": 2}}, {"checkpoint_seconds": 1}, {"name": "other"}):
        assert job(photos, tmp_path, **same).identity == usual, same
    data = content(photos)["data"]
    for other in ({"seed": 1}, {"steps": 7}, {"batch": 4}, {"learning_rate": 0.1}, {"held_out": 6},
                  {"data": data | {"crop": 33}}, {"data": data | {"limit": 20}}):  # fmt: skip
        assert job(photos, tmp_path, **other).identity != usual, other


# --- the campaign


def campaign(pattern, folder, **attack):
    settings = {"eps": "8/255", "steps": 2, "step_size": "4/255", "eot_draws": 2, "momentum": 0.0}
    attacks = {"net": settings | {"policy": "network", "networks": str(folder)} | attack, "plain": settings}
    return tiny.campaign(
        pattern,
        defenses={"two": {"k": 2, "transforms": ["color_precision", "grey_mix"]}},
        attacks=attacks,
        cells=[{"model": "net", "defense": "two", "attack": list(attacks)}],
        evaluation_draws=2,
        unit_images=8,
    )


def test_a_campaign_attacks_by_its_networks_and_its_rows_name_them(pattern, nets, tmp_path, barrage, write):
    store = tmp_path / "store"
    assert barrage("run", write(campaign(pattern, nets)), "--here", "--store", store)[0] == 0
    found = results(str(store)).to_pylist()
    (sha256,) = {row["networks"] for row in found if row["attack"] == "net"}
    assert (
        len(sha256) == 64
        and sha256 == bpda_networks.checked(parse(campaign(pattern, nets), "c").attacks["net"]).networks_sha256
    )
    assert {row["policy"] for row in found if row["attack"] == "net"} == {"network"}
    assert {(row["policy"], row["networks"]) for row in found if row["attack"] == "plain"} == {("combo", None)}
    assert Counter(row["status"] for row in found) == {"ok": 16}
    assert list(verify(opened(str(store)))) == []
    moved = copied(nets, tmp_path / "moved")
    before = {path: path.stat().st_mtime_ns for path in store.glob("results/*")}
    assert barrage("run", write(campaign(pattern, moved)), "--here", "--store", store)[0] == 0, "a path is only a place"
    assert {path: path.stat().st_mtime_ns for path in store.glob("results/*")} == before


def test_examples_are_those_of_a_plain_loop_with_the_networks(pattern, nets, tmp_path):
    from bart import Barrage, Defended, Eot, Goal, Mirror, Pgd
    from bart.ball import Ball
    from pipeline.campaigns import image_keys
    from pipeline.campaigns.attempt import image_rows
    from pipeline.campaigns.worker import Worker
    from pipeline.models import loading

    found = prepare(parse(campaign(pattern, nets), "c"), str(tmp_path / "store"))
    unit = next(unit for unit in found.units() if unit.cell == "net-two-net")
    list(Worker(found, CPU, threading.Event()).attack(unit))
    samples = shards.read(found.shards[unit.shard], found.places(unit))
    x = torch.stack([torch.from_numpy(shards.decode(s.image, None, 32)) for s in samples]).float() / 255
    cell = found.cells[unit.cell]
    loaded = {}
    for name in ("color_precision", "grey_mix"):
        loaded[name] = BpdaNet(name).eval()
        loaded[name].load_state_dict(load_file(nets / f"{name}.safetensors"))
    model = loading.classifier(cell.model, 32, CPU)
    label = torch.tensor([s.label for s in samples])
    examples = []
    for policy in ("network", "combo"):
        behind = Defended(model, Barrage(2, ("color_precision", "grey_mix")), networks=loaded)
        attack = Pgd(Ball("linf", 8 / 255), 2, 4 / 255, eot=Eot(2, policy=policy))
        keys: Mirror = image_keys.to_attack(cell, [(unit.shard, s.key) for s in samples])
        state = attack.start(x, Goal(label, torch.full_like(label, -1)), keys)
        for _ in range(2):
            state = attack.step(state, behind, 8)
        examples.append(attack.ball.store(attack.result(state), x))
    stored = image_rows.pictures(Store(found.store).read(Store(found.store).adversarial(unit)))
    ours = torch.stack([torch.from_numpy(stored[s.key]) for s in samples])
    assert torch.equal(ours, examples[0]) and not torch.equal(ours, examples[1])


def refused(pattern, folder, tmp_path, **attack):
    with pytest.raises(BadInput) as error:
        prepare(parse(campaign(pattern, folder, **attack), "c"), str(tmp_path / "store"))
    assert "\n" not in str(error.value)
    return str(error.value)


def edited(folder, to, **changes):
    """A copy whose manifest says something else of grey_mix."""
    to = copied(folder, to)
    told = json.loads((to / "manifest.json").read_text())
    for entry in told["networks"]:
        if entry["transform"] == "grey_mix":
            entry |= changes
    (to / "manifest.json").write_text(json.dumps(told))
    return to


def test_networks_that_do_not_fit_are_refused_before_a_run(pattern, nets, tmp_path):
    assert "needs `networks`" in refused(pattern, nets, tmp_path, networks=None)
    assert "manifest.json" in refused(pattern, tmp_path, tmp_path)
    assert "expected " + "0" * 64 in refused(pattern, nets, tmp_path, networks_sha256="0" * 64)
    assert "for 64 px" in refused(pattern, edited(nets, tmp_path / "size", size=64), tmp_path)
    assert "takes the parameters" in refused(pattern, edited(nets, tmp_path / "told", maxima={"ratio": 2}), tmp_path)
    assert "takes the parameters" in refused(pattern, edited(nets, tmp_path / "named", maxima={"mix": 1}), tmp_path)
    damaged = copied(nets, tmp_path / "damaged")
    (damaged / "manifest.json").write_text("{}")
    assert "damaged" in refused(pattern, damaged, tmp_path)
    fewer = copied(nets, tmp_path / "fewer")
    (fewer / "grey_mix.safetensors").unlink()
    assert "lack grey_mix.safetensors" in refused(pattern, fewer, tmp_path)
    bpda_networks.write_manifest(fewer)
    assert "no network for grey_mix" in refused(pattern, fewer, tmp_path)
    prepare(parse(campaign(pattern, fewer, policy="combo"), "c"), str(tmp_path / "store"))  # combo takes what there is
    prepare(parse(campaign(pattern, fewer, transfer=True), "c"), str(tmp_path / "store"))


def test_networks_of_another_definition_of_their_transform_are_refused(pattern, nets, photos, tmp_path, monkeypatch):
    usual = job(photos, nets).identity_of("grey_mix")
    assert job(photos, nets).identity == usual, "release 0.1 knew no versions"
    monkeypatch.setitem(TRANSFORMS.builtin, "grey_mix", replace(TRANSFORMS["grey_mix"], version=2))
    assert "grey_mix imitates version 1 of its definition, this is 2: train again" in refused(pattern, nets, tmp_path)
    with pytest.raises(BadInput, match="holds a network of version 1 of grey_mix, this is version 2"):
        job(photos, nets)
    found = job(photos, tmp_path / "again", transforms=["grey_mix", "color_precision"], steps=1)
    assert found.identity_of("grey_mix") != found.identity == found.identity_of("color_precision"), "checkpoints are of one"
    trained(found, "grey_mix")
    assert bpda_networks.entries(found.store)["grey_mix"][0].version == 2
    job(photos, found.store, steps=1)


BEFORE = {
    "clahe": {"on": 1, "tile_height": 256 / 6, "tile_width": 256 / 6, "clip_limit": 0.04},
    "contrast_stretch": {"on": 1, "low": 4, "high": 99},
    "grey_one_channel": {"channel": 2, "ratio": 1, "mix": 0.9},
}
"""P(t) of version 1 of the transforms that have version 2: `grey_one_channel` took one number more, under the same names."""


@pytest.mark.parametrize("name", BEFORE)
def test_a_network_of_release_01_of_a_changed_transform_is_refused(pattern, nets, photos, tmp_path, name):
    (entry, _), weights = bpda_networks.entries(nets)["grey_mix"], BpdaNet(12).state_dict()
    folder = copied(nets, tmp_path / "older")
    old = bpda_networks.encode(replace(entry, transform=name, maxima=BEFORE[name]), weights)
    (folder / f"{name}.safetensors").write_bytes(old)
    bpda_networks.write_manifest(folder)
    assert f"{name} imitates version 1 of its definition, this is 2: train again" in refused(pattern, folder, tmp_path)
    with pytest.raises(BadInput, match=f"holds a network of version 1 of {name}, this is version 2: use another --store"):
        job(photos, folder, transforms=["color_precision", "grey_mix"])


@pytest.mark.parametrize(("version", "fresh"), [(1, 5), (2, 6)])
def test_a_checkpoint_is_of_one_definition(photos, tmp_path, monkeypatch, version, fresh):
    """One step of six is in it: with another definition of the transform, the training begins anew."""
    drain = threading.Event()
    drain.set()
    with pytest.raises(Drained):
        trained(job(photos, tmp_path), drain=drain)
    monkeypatch.setitem(TRANSFORMS.builtin, "grey_mix", replace(TRANSFORMS["grey_mix"], version=version))
    assert trained(job(photos, tmp_path))[-1].fresh == fresh


def test_files_of_a_later_format_are_refused(nets, photos, tmp_path, monkeypatch):
    later = {"format": formats.FORMAT + 1, "release": "9.9"}
    said = f"has format {formats.FORMAT + 1}, .*read it with barrage 9.9"
    mine = copied(nets, tmp_path / "mine")
    assert json.loads((mine / "manifest.json").read_text())["format"] == formats.FORMAT
    (mine / "manifest.json").write_text(json.dumps(json.loads((mine / "manifest.json").read_text()) | later))
    with pytest.raises(BadInput, match=f"^[^ ]*manifest.json {said}"):
        bpda_networks.manifest(mine)
    with monkeypatch.context() as patch:
        patch.setattr(formats, "stamp", lambda: later)
        (entry, _) = bpda_networks.entries(nets)["grey_mix"]
        (mine / "grey_mix.safetensors").write_bytes(bpda_networks.encode(entry, BpdaNet("grey_mix").state_dict()))
    with pytest.raises(BadInput, match=f"grey_mix.safetensors {said}"):
        bpda_networks.entries(mine)
    found = job(photos, tmp_path / "store")
    found.write_down()
    path = tmp_path / "store" / "training.yaml"
    content = yaml.safe_load(path.read_text())
    assert (content["format"], content["identity"]) == (formats.FORMAT, found.identity)
    path.write_text(yaml.safe_dump(content | later))
    with pytest.raises(BadInput, match=f"training.yaml {said}"):
        job(photos, tmp_path / "store")


def test_networks_of_release_01_are_read(nets, tmp_path):
    """They have no format number and no version: the first of both."""
    mine = edited(nets, tmp_path / "old")
    content = json.loads((mine / "manifest.json").read_text())
    old = [{key: value for key, value in entry.items() if key != "version"} for entry in content["networks"]]
    (mine / "manifest.json").write_text(json.dumps({"networks": old}))
    assert bpda_networks.manifest(mine) == bpda_networks.manifest(nets)


def test_a_changed_weights_file_is_refused_before_and_during_a_run(pattern, nets, tmp_path):
    from pipeline.campaigns.worker import Worker

    mine = copied(nets, tmp_path / "mine")
    found = prepare(parse(campaign(pattern, mine), "c"), str(tmp_path / "store"))
    path = mine / "grey_mix.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    assert "SHA-256" in refused(pattern, mine, tmp_path)
    with pytest.raises(BadInput, match="SHA-256"):
        Worker(found, CPU, threading.Event()).defended(found.cells["net-two-net"])
    found.write_down()
    assert any("attack net" in fault and "SHA-256" in fault for fault in verify(opened(found.store)))
    bpda_networks.write_manifest(mine)  # now the manifest agrees, but these are others
    with pytest.raises(BadInput, match="have changed"):
        Worker(found, CPU, threading.Event()).defended(found.cells["net-two-net"])
    with pytest.raises(BadInput, match="another campaign"):
        prepare(parse(campaign(pattern, mine), "c"), found.store)


def test_the_identity_of_a_cell_names_networks_by_their_hash_alone(pattern, nets, tmp_path):
    def identity(folder, **attack):
        found = prepare(parse(campaign(pattern, folder, **attack), "c"), str(tmp_path / "store"))
        return {name: cell.identity for name, cell in found.cells.items()}

    usual = identity(nets)
    assert identity(copied(nets, tmp_path / "moved")) == usual
    fewer = copied(nets, tmp_path / "fewer")
    (fewer / "color_precision.safetensors").unlink()
    bpda_networks.write_manifest(fewer)
    combo, less = identity(nets, policy="combo"), identity(fewer, policy="combo")
    assert len({usual["net-two-net"], combo["net-two-net"], less["net-two-net"]}) == 3
    assert usual["net-two-plain"] == combo["net-two-plain"] != combo["net-two-net"]


def test_checks_compare_the_network_where_there_is_one(pattern, nets):
    from pipeline.campaigns import check

    found = {c.attack_name: c for c in parse(campaign(pattern, nets, policy="combo"), "c").grid()}
    policies = {name: next(c for c in check.checks(found[name]) if c.name == "gradient policies") for name in found}
    assert list(policies["plain"].variants) == ["policy-identity"]
    assert list(policies["net"].variants) == ["policy-identity", "policy-network"]
    assert policies["net"].variants["policy-network"].attack.networks == str(nets)  # type: ignore[attr-defined]


def test_files_say_what_they_are(nets):
    found = bpda_networks.entries(nets)
    assert list(found) == ["color_precision", "grey_mix"] and found == bpda_networks.manifest(nets)
    entry, _ = found["grey_mix"]
    data = bpda_networks.encode(entry, BpdaNet("grey_mix").state_dict())
    assert bpda_networks.entry_of("net", data) == entry and bpda_networks.entry_of("net", b"nothing") is None
    assert bpda_networks.encode(replace(entry, seed=1), BpdaNet("grey_mix").state_dict()) != data
