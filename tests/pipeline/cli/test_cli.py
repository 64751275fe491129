"""The command as a user meets it: exit codes and one clear line, before anything is touched."""

import csv
import io
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from pipeline import provenance
from tests.support import tiny


@pytest.fixture
def store(copied):
    """Return a finished store."""
    return copied()


def wrong(content):
    """Ways to spoil a campaign, and what the line must name."""
    model = content["models"]["net"]
    return {
        "missing shard": (lambda: content["data"].update(shards="none/x-000000.tar"), "none/x-000000.tar"),
        "pattern without a match": (lambda: content["data"].update(shards="none/*.tar"), "match no file"),
        "unknown key": (lambda: content.update(evaluation_drawz=3), "evaluation_draws"),
        "eps that is no number": (lambda: content["attacks"]["pgd"].update(eps="big"), "'big' is not a number"),
        "label outside the classes": (
            lambda: model.update(architecture="tests.support.tiny:network_of_seven_classes", classes=7),
            "label 7",
        ),
        "wrong classes": (lambda: model.update(classes=12), "10 classes"),
        "missing weights": (lambda: model.update(weights="none/w.pt"), "none/w.pt"),
        "unknown architecture": (lambda: model.update(architecture="resnet"), "expected"),
        "missing factory": (lambda: model.update(architecture="tests.support.tiny:nothing"), "nothing"),
    }


@pytest.mark.parametrize("case", wrong(tiny.campaign("x")))
def test_bad_input_is_one_line_and_exit_code_2_before_work(barrage, write, pattern, tmp_path, case):
    content = tiny.campaign(pattern)
    spoil, named = wrong(content)[case]
    spoil()
    code, _, err = barrage("run", write(content), "--here", "--store", tmp_path / "store")
    said = [line for line in err.splitlines() if not line.startswith("reading ")]
    assert code == 2 and len(said) == 1 and named in said[0], err
    assert not (tmp_path / "store").exists()


def test_workers_that_no_cluster_has_are_refused(barrage, write, pattern, tmp_path):
    content = tiny.campaign(pattern, workers={"gpus": 64})
    code, _, err = barrage("run", write(content), "--store", tmp_path / "store")
    assert code == 2 and "64 GPUs each" in err and not (tmp_path / "store").exists()


def test_wrong_weights_are_refused(barrage, write, pattern, tmp_path):
    page, other = tmp_path / "page.pt", tmp_path / "other.pt"
    page.write_text("<!DOCTYPE html><html>not found</html>")

    torch.save({"0.weight": torch.zeros(1)}, other)
    for path, changes, named in ((page, {}, "HTML page"), (other, {}, "do not fit"), (other, {"sha256": "0" * 64}, "SHA-256")):
        content = tiny.campaign(pattern)
        content["models"]["net"] |= {"weights": str(path)} | changes
        code, _, err = barrage("run", write(content), "--here", "--store", tmp_path / "store")
        assert code == 2 and named in err
    assert not (tmp_path / "store").exists()


def test_weights_that_would_run_code_are_refused(barrage, write, pattern, tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    content = tiny.campaign(pattern)
    content["models"]["net"]["weights"] = str(tmp_path / "evil.pt")
    assert barrage("run", write(content), "--here", "--store", tmp_path / "store")[0] == 2
    assert not (tmp_path / "pwned").exists()


def test_a_store_of_another_campaign_is_refused_and_left_alone(barrage, write, pattern, store):
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    code, _, err = barrage("run", write(tiny.campaign(pattern, seed=9)), "--here", "--store", store)
    assert code == 2 and "in cell net-none-pgd seed was 0, is 9; use another --store" in err
    assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == before


def test_commands_on_a_finished_store(barrage, store):
    code, out, _ = barrage("status", store)
    assert code == 0 and "8/8" in out
    assert barrage("verify", store)[0] == 0
    found = json.loads(barrage("table", store, "--format", "json")[1])
    assert len(found) == 8 and {line["rule"] for line in found} == {"single", "vote", "mean", "persistent"}
    lines = list(csv.DictReader(io.StringIO(barrage("table", store, "--format", "csv", "--rule", "vote")[1])))
    assert [line["cell"] for line in lines] == ["net-none-pgd", "net-bart2-pgd"]
    assert barrage("table", store, "--format", "md")[1].count("\n") == 10
    assert "clean" in barrage("table", store)[1]


@pytest.mark.parametrize("command", ["status", "table", "verify"])
def test_a_store_that_is_none_is_refused(barrage, tmp_path, command):
    code, _, err = barrage(command, tmp_path / "nothing")
    assert code == 2 and "nothing" in err and len(err.splitlines()) == 1


def test_verify_of_a_spoiled_store_exits_1(barrage, store):
    next(store.glob("results/*.parquet")).unlink()
    code, out, _ = barrage("verify", store)
    assert code == 1 and "planned, but not done" in out


def test_plan_counts_what_a_run_does(barrage, write, pattern, store):
    out = barrage("plan", write(tiny.campaign(pattern)), "--no-calibrate")[1]
    spent = {line["cell"]: line["draw_gradients"] for line in json.loads(barrage("table", store, "--format", "json")[1])}
    assert set(spent) == {"net-none-pgd", "net-bart2-pgd"}
    for cell, count in spent.items():
        assert re.search(rf"{cell} .* 3 .* 8 .* {count} ", out), out


def test_a_finished_campaign_runs_again_in_no_time_and_changes_nothing(barrage, write, pattern, tmp_path):
    store = tmp_path / "store"
    assert barrage("run", write(tiny.campaign(pattern)), "--here", "--store", store)[0] == 0
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()}
    assert barrage("run", write(tiny.campaign(pattern)), "--here", "--store", store)[0] == 0
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()} == before


def test_every_command_explains_itself_with_an_example(barrage):
    listed = re.findall(r"^[│ ]+([a-z]+)  ", barrage("--help")[1], re.M)
    assert {"run", "plan", "status", "table", "verify", "pack"} <= set(listed)
    for name in listed:
        assert f"barrage {name}" in barrage(name, "--help")[1]


def test_help_is_there_without_torch_ray_or_arrays():
    code = (
        "import sys; from pipeline.__main__ import app, more_commands; more_commands(); app(['--help'], standalone_mode=False)"
    )
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "barrage run campaigns/demo.yaml" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "rich" in loaded and not loaded & {"torch", "ray", "numpy", "pyarrow", "pydantic", "bart"}


def test_python_m_pipeline_is_the_same_command():
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-m", "pipeline", "run", "none.yaml"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2 and "none.yaml does not exist" in done.stderr


def test_version_names_the_release_the_commit_and_the_engines(barrage):
    code, out, _ = barrage("--version")
    found = dict(part.split(" ", 1) for part in out.strip().split(", "))
    assert code == 0 and list(found) == ["barrage", "commit", "torch", "ray"]
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["commit"] == provenance.commit()


def test_the_version_of_a_checkout_is_that_of_its_files(barrage):
    """What is installed in place may be older than the files that it leads to."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert barrage("--version")[1].startswith(f"barrage {project['version']}, ")


def test_version_is_there_without_torch():
    code = "import sys; from pipeline.__main__ import app\ntry: app(['--version'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, loaded = done.stdout.splitlines()
    assert version.startswith("barrage ") and not set(loaded.split()) & {"torch", "ray", "numpy", "pyarrow", "bart"}
