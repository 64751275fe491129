"""Files from strangers: a campaign, a shard, weights, a checkpoint, a store. None runs code, fills the memory or leaks."""

import ast
import gzip
import io
import os
import pickle
import random
import struct
import sys
import tarfile
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import barrage_plugins
from barrage_plugins import modules
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.worker import Worker
from pipeline.config.campaign import Model, content, load, parse
from pipeline.config.yaml_loader import plain
from pipeline.data import samples, shards
from pipeline.data.tars import stream
from pipeline.errors import BadInput
from pipeline.models import bpda_networks, loading
from pipeline.store import checkpoints
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny

ROOT = Path(__file__).parents[2]


class Trap:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


# No pickles


def calls():
    """Every call in the code, as (file, dotted name, keywords as source)."""
    for path in [*(ROOT / "bart").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg}
                yield path.name, ast.unparse(node.func), keywords


def test_nothing_in_the_code_unpickles_or_evaluates():
    names = [(file, name) for file, name, _ in calls()]
    assert len(names) > 1000
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    for path in [*(ROOT / "bart").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found = {getattr(node, "module", None) or "", *(alias.name for alias in node.names)}
                assert not {name.partition(".")[0] for name in found} & modules, path
    for file, name in names:
        assert name not in ("eval", "exec", "os.system", "os.popen", "compile", "np.load", "yaml.load"), (file, name)
        assert name.rpartition(".")[2] not in ("unsafe_load", "full_load", "extractall", "gopen"), (file, name)
    for file, name, keywords in calls():
        if name in ("torch.load", "load_state_dict_from_url", "torch.hub.load_state_dict_from_url"):
            assert keywords.get("weights_only") == "True", (file, name)
        assert keywords.get("shell", "False") == "False" and keywords.get("allow_pickle", "False") == "False", (file, name)


def test_a_checkpoint_or_network_that_is_a_pickle_is_none(tmp_path):
    data = pickle.dumps(Trap(tmp_path / "pwned"))
    torch.save({"x": Trap(tmp_path / "pwned")}, tmp_path / "saved.pt")
    for trap in (data, (tmp_path / "saved.pt").read_bytes()):
        assert (
            checkpoints.decode(trap) is None
            and checkpoints.header(trap, "trap") is None
            and bpda_networks.entry_of("trap", trap) is None
        )
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors"])
def test_weights_that_are_a_pickle_are_refused(tmp_path, ending):
    path = tmp_path / f"weights{ending}"
    torch.save({"weight": Trap(tmp_path / "pwned")}, path)
    with pytest.raises(BadInput, match="are no weights file"):
        loading.build(Model(architecture="tests.support.tiny:network", weights=str(path)))
    path.write_bytes(pickle.dumps(Trap(tmp_path / "pwned")))
    with pytest.raises(BadInput, match="are no weights file"):
        loading.build(Model(architecture="tests.support.tiny:network", weights=str(path)))
    assert not (tmp_path / "pwned").exists()


def test_weights_that_a_library_fetches_are_not_unpickled_either(tmp_path, monkeypatch):
    """As torchvision loads them: torch.load of what came from the network, without weights_only."""
    torchvision = pytest.importorskip("torchvision")
    torch.save({"weight": Trap(tmp_path / "pwned")}, tmp_path / "fetched.pth")

    def get_model(name, weights, **more):
        torch.load(tmp_path / "fetched.pth", weights_only=False)
        raise AssertionError("it was loaded")

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    with pytest.raises(BadInput, match="could not be fetched .UnpicklingError"):
        loading.build(Model(architecture="torchvision:resnet18", weights="DEFAULT"))
    assert not (tmp_path / "pwned").exists()
    assert os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD") == before


# No commands


@pytest.mark.parametrize(
    "pattern", ["pipe:touch {}", "pipe:touch {} ; cat x-{{0..9}}.tar", "| touch {}", "$(touch {}).tar", "htpipe:x"]
)
def test_commands_for_shards_are_refused_and_not_run(tmp_path, pattern, barrage, write):
    path = write(tiny.campaign(pattern.format(tmp_path / "pwned")))
    code, _, err = barrage("run", path, "--here", "--store", tmp_path / "store")
    assert code == 2 and len(err.splitlines()) == 1
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "store").exists()


def test_members_that_webdataset_would_decode_by_unpickling_are_bytes_that_nobody_reads(tmp_path):
    trap = pickle.dumps(Trap(tmp_path / "pwned"))
    members = [
        ("a.png", tiny.picture(0)),
        ("a.cls", b"1"),
        ("a.pyd", trap),
        ("a.pkl", trap),
        ("a.pickle", trap),
        ("a.npy", trap),
    ]
    path = tar(tmp_path / "x.tar", members)
    shard = shards.inspect(path)
    (sample,) = shards.read(shard, range(1))
    assert sample.status == "ok" and sample.label == 1
    assert not (tmp_path / "pwned").exists()


def tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


# Bounds


def png(width, height, data=b""):
    """A PNG that claims a size, whatever it holds."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    for side in (8001, 20_000, 65_000, 2**30):
        bomb = png(side, side, zlib.compress(b"\0" * 10_000_000))
        with pytest.raises(ValueError, match="pixels|exceeds limit"):
            shards.decode(bomb, 256, 224)


def test_a_long_strip_is_refused_before_it_is_resized(monkeypatch):
    """Within the bounds as it lies there, and billions of pixels once its shorter side is 256."""
    monkeypatch.setattr(Image.Image, "resize", lambda *a, **k: pytest.fail("it was resized"))
    buffer = io.BytesIO()
    Image.new("L", (1_000_000, 1)).save(buffer, "PNG")
    with pytest.raises(ValueError, match="256000000 x 256 pixels after resizing"):
        shards.decode(buffer.getvalue(), 256, 224)


def test_text_that_unfolds_in_an_image_is_bounded():
    buffer = io.BytesIO()
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("k", "a" * 30_000_000, zip=True)
    Image.new("RGB", (40, 40)).save(buffer, "PNG", pnginfo=info)
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(ValueError, match="too large"):
        shards.decode(buffer.getvalue(), None, 32)


@pytest.mark.parametrize(
    "image", [b"GIF89a" + bytes(99), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", b"", b"BM" + bytes(99)]
)
def test_only_jpeg_and_png_are_decoded(image):
    with pytest.raises(ValueError):
        shards.decode(image, None, 32)


def test_damaged_images_are_refused_by_one_kind_of_error():
    """Whatever bytes: a row with a reason, never a unit that fails."""
    dice, jpeg = random.Random(0), io.BytesIO()
    Image.open(io.BytesIO(tiny.picture(1))).save(jpeg, "JPEG")
    refused = 0
    for source in (tiny.picture(1), jpeg.getvalue()):
        for _ in range(300):
            data = bytearray(source)
            for _ in range(dice.choice([1, 3])):
                data[dice.randrange(min(len(data), 150))] = dice.randrange(256)
            try:
                shards.decode(bytes(data[: dice.choice([len(data), dice.randrange(len(data))])]), None, 32)
            except ValueError:
                refused += 1
    assert refused > 100


def test_a_member_that_is_too_large_is_a_row_and_is_not_read(tmp_path, monkeypatch):
    good = tiny.picture(0)
    monkeypatch.setattr(samples, "MAX_BYTES", len(good))
    path = tar(tmp_path / "x.tar", [("a.png", good + b"\0"), ("a.cls", b"1"), ("b.png", good), ("b.cls", b"2"), ("c.png", good),
                                    ("c.cls", b"3".zfill(len(good) + 1))])  # fmt: skip
    read = stream.Forward.read
    monkeypatch.setattr(stream.Forward, "read", lambda f, n: read(f, n) if n <= len(good) else pytest.fail("read"))
    shard = shards.inspect(path)
    assert [(s.key, s.status) for s in shards.read(shard, range(3))] == [("a", "bad_image"), ("b", "ok"), ("c", "bad_label")]
    assert f"{len(good) + 1} bytes, more than {len(good)}" in shards.read(shard, range(1))[0].error


def test_a_sparse_member_is_as_large_as_it_unfolds(tmp_path):
    """A few bytes of a tar that say: a terabyte of zeros."""
    member = tarfile.TarInfo("a.png")
    member.size = 512
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[386:410] = b"00000000000\0" + b"00000001000\0"  # one run of 512 bytes
    block[483:495] = (1 << 40).to_bytes(12, "big")
    block[483] |= 0x80
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x.tar").write_bytes(bytes(block) + bytes(512 + 1024))
    shard = shards.inspect(tmp_path / "x.tar")
    (sample,) = shards.read(shard, range(1))
    assert sample.status == "bad_image" and f"{1 << 40} bytes" in sample.error


def test_a_shard_that_unfolds_without_bound_is_a_row_and_is_left(tmp_path, monkeypatch):
    """Gigabytes of zeros in a megabyte: left after the first of them."""
    monkeypatch.setattr(stream, "UNFOLDED_FREE", 1 << 20)
    path = tar(tmp_path / "x.tar", [("a.png", bytes(300 << 20)), ("a.cls", b"1")])
    packed = tmp_path / "y.tar"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    (sample,) = shards.read(shards.inspect(packed), range(1))
    assert sample.status == "bad_shard" and "unfolds to more than 100 times" in sample.error


def test_headers_without_bound_are_a_row(tmp_path):
    """A name of 64 MB, and a thousand names one after the other, as GNU tar writes long ones."""
    long, many = tarfile.TarInfo("././@LongLink"), tarfile.TarInfo("././@LongLink")
    long.type = many.type = tarfile.GNUTYPE_LONGNAME
    long.size, many.size = 64 << 20, 2000
    for name, data in (("long", long.tobuf() + b"a" * long.size), ("many", (many.tobuf() + b"a" * 2048) * 1000)):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(data + bytes(1024))
        (sample,) = shards.read(shards.inspect(path), range(1))
        assert sample.status == "bad_shard" and "header" in sample.error


# YAML


def laughs(levels):
    lines = [f"a0: &a0 [{', '.join('x' * 9)}]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(("text", "said"), [
    ("!!python/object/apply:os.system ['touch {}']", "could not determine a constructor for the tag"),
    ("name: !!python/name:os.system", "could not determine a constructor for the tag"),
    ("name: !!python/object/new:type {{args: [x, [], {{}}]}}", "could not determine a constructor for the tag"),
    (laughs(9), "aliases"), ("&a [*a]", "aliases"), ("a: &a {{b: *a}}", "aliases"),
    ("[" * 200_000, "nest"),  # newer libyaml has a limit of its own
    ("- " * 20_000 + "x", "nests more than"),
    ("a: " + "{{b: " * 60 + "x" + "}}" * 60, "nests more than"),
    ("name: 2020-13-99", "month"), ("name: !!binary ä", "ascii"), ("name: \x00", "haracter"), ("a: [", "expected"),
])  # fmt: skip
def test_yaml_makes_no_objects_and_does_not_grow(tmp_path, barrage, text, said):
    path = tmp_path / "c.yaml"
    path.write_text(text.format(tmp_path / "pwned") if "touch" in text else text.replace("{{", "{").replace("}}", "}"))
    code, _, err = barrage("run", path, "--here")
    assert code == 2 and len(err.splitlines()) == 1 and "is no valid YAML" in err and said in err
    assert not (tmp_path / "pwned").exists()


def test_yaml_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00name: \xc3\x28")
    with pytest.raises(BadInput, match="is no valid YAML"):
        content(tmp_path / "c.yaml", "campaign", "x")


def test_what_people_write_is_read_as_ever():
    for path in (ROOT / "campaigns").glob("*.yaml"):
        assert plain(path.read_text()) == yaml.safe_load(path.read_text())
    anchors = "base: &b {eps: 8/255, steps: 3}\nattacks: {a: {<<: *b, steps: 4}, b: *b, c: [1, 2.5, null, true, 2020-01-02]}"
    assert plain(anchors) == yaml.safe_load(anchors) and plain("") is None and plain(b"a: 1") == {"a": 1}


# Other people's code


@pytest.fixture
def nobody_allowed(monkeypatch):
    """Allow no module, as on a machine where the user named none."""
    monkeypatch.setattr(modules, "_failures", {})
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    monkeypatch.delenv(barrage_plugins.ALLOW)
    monkeypatch.setattr(modules, "_allowed", set())


def test_a_campaign_calls_no_function_unless_its_user_says_so(tmp_path, pattern, write, barrage, monkeypatch, nobody_allowed):
    marker = tmp_path / "pwned"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = tiny.campaign(pattern)
    told["models"]["net"]["architecture"] = "evil:network"
    code, _, err = barrage("run", write(told), "--here", "--store", tmp_path / "store")
    assert code == 2 and "was not allowed" in err and "--allow-module evil" in err and "BARRAGE_ALLOW_MODULES=evil" in err
    assert not marker.exists() and not (tmp_path / "store").exists()
    told["models"]["net"]["architecture"] = "tests.support.tiny:network"
    arguments = ("run", write(told), "--here", "--store", tmp_path / "store")
    for half_a_name in ("tests.support.tin", "support.tiny", "t", ""):
        assert barrage(*arguments, "--allow-module", half_a_name)[0] == 2
    assert barrage(*arguments, "--allow-module", "tests.support.tiny")[0] == 0


@pytest.mark.parametrize("key", ["kind", "loss", "transforms", "rule", "defense"])
def test_a_name_in_a_campaign_imports_no_module_that_was_not_allowed(tmp_path, pattern, monkeypatch, nobody_allowed, key):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nBARRAGE_PLUGINS = {{}}")
    monkeypatch.syspath_prepend(tmp_path)
    told = tiny.campaign(pattern)
    attack, defense = told["attacks"]["pgd"], told["defenses"]["bart2"]
    {
        "kind": lambda: attack.update(kind="evil"),
        "loss": lambda: attack.update(loss="evil"),
        "transforms": lambda: defense.update(transforms=["evil", "grey_mix"]),
        "rule": lambda: told.update(stop={"interval": 0.1, "rule": "evil"}),
        "defense": lambda: defense.update(kind="evil"),
    }[key]()
    with pytest.raises(BadInput, match="unknown .* 'evil'"):
        parse(told, "c.yaml")
    assert not (tmp_path / "pwned").exists()
    barrage_plugins.allow(["evil"])
    with pytest.raises(BadInput, match="unknown .* 'evil'"):
        parse(told, "c.yaml")
    assert (tmp_path / "pwned").exists(), "an allowed module is imported"


def test_a_store_allows_nothing_either(tmp_path, pattern, write, barrage, monkeypatch, nobody_allowed):
    store = tmp_path / "store"
    monkeypatch.setenv(barrage_plugins.ALLOW, "tests")
    assert barrage("run", write(tiny.campaign(pattern)), "--here", "--store", store)[0] == 0
    monkeypatch.setattr(modules, "_allowed", set())
    monkeypatch.setenv(barrage_plugins.ALLOW, "")
    assert barrage("verify", store)[0] == 2 and barrage("verify", store, "--sample", "0")[0] == 0
    assert barrage("verify", store, "--allow-module", "tests")[0] == 0
    monkeypatch.setattr(modules, "_allowed", set())
    monkeypatch.setenv(barrage_plugins.ALLOW, "numpy, tests.support")
    assert barrage("verify", store)[0] == 0


@pytest.mark.parametrize("key", ["allow_module", "allow_modules", "modules"])
def test_a_campaign_can_not_allow_itself_anything(pattern, key):
    for place in ({}, "models", "workers", "data"):
        told = tiny.campaign(pattern)
        target = told if not place else told["models"]["net"] if place == "models" else told[place]
        target[key] = ["os"]
        with pytest.raises(BadInput, match="unknown key"):
            parse(told, "c.yaml")


def test_a_worker_elsewhere_is_told_what_is_allowed(pattern, tmp_path, monkeypatch, nobody_allowed):
    """An actor on another machine knows the job and not the command line; what a store says of itself allows nothing."""
    barrage_plugins.allow(["tests"])
    job = prepare(parse(tiny.campaign(pattern), "c"), str(tmp_path / "store"))
    job.write_down()
    monkeypatch.setattr(modules, "_allowed", set())
    foreign = Worker(opened(job.store), torch.device("cpu"), threading.Event())
    cell = next(iter(job.cells.values()))
    with pytest.raises(BadInput, match="was not allowed"):
        foreign.defended(cell)
    Worker(pickle.loads(pickle.dumps(job)), torch.device("cpu"), threading.Event()).defended(cell)


# The network, and secrets


def test_the_dashboard_is_off_or_on_loopback():
    started = [keywords for _, name, keywords in calls() if name.endswith("ray.init") and keywords.get("address") == "'local'"]
    assert started
    for keywords in started:
        assert keywords.get("include_dashboard") == "False" or "127.0.0.1" in keywords.get("dashboard_host", ""), keywords
    for path in (ROOT / "pipeline").rglob("*.py"):
        assert "0.0.0.0" not in path.read_text(), path


SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIASESAMESESAME0000", "AWS_SECRET_ACCESS_KEY": "sesame/secret+0",
    "AWS_SESSION_TOKEN": "sesametoken", "GOOGLE_APPLICATION_CREDENTIALS": "/sesame.json", "HF_TOKEN": "hf_sesame",
    "RAY_AUTH_TOKEN": "sesameray",
}  # fmt: skip


def test_no_secret_of_the_environment_gets_into_the_store_or_the_log(tmp_path, pattern, write, barrage, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    said = "".join(map(str, barrage("run", write(tiny.campaign(pattern)), "--here", "--store", tmp_path / "store")))
    said += "".join(map(str, barrage("verify", tmp_path / "store"))) + str(results(str(tmp_path / "store")).to_pylist())
    said += str([load(tmp_path / "campaign.yaml")])
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) > 10
    said += "".join(path.read_bytes().decode("latin1") for path in files)
    assert "sesame" not in said.lower()
    assert Store(tmp_path / "store").done() and np.array(files).size
