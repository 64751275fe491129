"""What the pages tell a reader to type or to write: every block and every command is run, or named here with the reason."""

import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pyarrow.dataset import dataset
from torch import nn

from pipeline.__main__ import main
from pipeline.config import bpda_training, classifier_training
from pipeline.config.campaign import parse
from pipeline.status.summary import Reader
from pipeline.store.rows import results
from tests.support import sandbox
from tests.support.images import photographs
from tests.support.session.once import folder, once
from tests.support.source.pages import PAGES, ROOT, Block, blocks, commands, inline, name, parsed, patched

NOT_RUN = {
    "python -m benchmarks.standard rivals --images 200 --budgets 50": "ten minutes and more",
    "python -m benchmarks.standard rivals --images 100 --budgets 200": "half an hour",
    "python -m benchmarks.standard rivals --data imagenet --images 20 --budgets 50": "half an hour",
    "python -m benchmarks.standard ablations --images 240 --budgets 50 --ks 10": "ten minutes and more",
    "barrage view stores/demo": "serves a page until it is stopped; tests/pipeline/view tests it",
    "barrage view demo/store": "serves a page until it is stopped",
    "barrage view stores/imagenet-val": "serves a page until it is stopped",
    "python -m benchmarks.fuzz --kind shard --count 33000": "takes minutes; tests/test_fuzz.py tries fewer",
    "barrage board add stores/demo --dataset CIFAR-10 --by NAME --link https://example.org --citation TEXT": (
        "a tiny network passes no check: tests/pipeline/board adds stores"
    ),
    "barrage board add STORE --dataset 'CIFAR-10, test' --by 'Your lab' --link https://example.org/defense "
    "--citation 'Authors, Venue 2026'": "a tiny network passes no check: tests/pipeline/board adds stores",
    "barrage check campaigns/demo.yaml": "the README's check is run, on another campaign",
    "barrage doctor CAMPAIGN --store URL": "words in capitals stand for others",
    "barrage gallery photo.jpg": "a minute of pictures: tests/pipeline/reports/test_gallery.py draws them",
    "barrage judge campaigns/demo.yaml adv.npz": "of another tool: docs/your-attack.md judges examples that are there",
    "barrage run campaigns/demo.yaml --track mlflow:http://tracking:5000": "of a server that the reader has",
    "barrage status /shared/stores/my-campaign": "of a store that only the cluster's job makes",
    "barrage status /shared/stores/table1": "of a store that only the cluster's job makes",
    "barrage status s3://my-bucket/table1": "of a store that only the cluster's job makes",
    "barrage train campaigns/bpda.yaml": "the same as bpda-small here, where all is small",
    "python -m benchmarks.checkpoints shares --before COMMIT": "minutes, and the history of the repository",
    "python -m benchmarks.deep.attack_seeds": "minutes",
    "python -m benchmarks.deep.best_iterate": "minutes",
    "python -m benchmarks.deep.false_alarms": "minutes; tests/pipeline/campaigns/test_check_luck.py makes fewer runs",
    "python -m benchmarks.deep.peeking": "minutes",
    "python -m benchmarks.deep.shared_seed": "minutes",
    "python -m benchmarks.deep.sign_of_mean": "minutes",
    "python -m benchmarks.definitions": "minutes, and ImageNet",
    "python -m benchmarks.common_draws": "minutes",
    "python -m benchmarks.standard": "hours",
    "python -m benchmarks.standard ablations": "an hour; tests/test_ablations.py tests what it changes",
    "python -m benchmarks.fidelity --markdown": "minutes",
    "python -m benchmarks.gpu_model": "minutes",
    "python -m benchmarks.host --before 3784bbb": "minutes, and the history of the repository",
    "python -m benchmarks.intervals": "minutes",
    "python -m benchmarks.keyed": "a time, which depends on the machine",
    "python -m benchmarks.ports": "starts Ray: tests/pipeline/execution/test_start.py runs it",
    "python -m benchmarks.large measure FOLDER": "an hour, and CIFAR-10",
    "python -m benchmarks.large show docs/results/large --picture docs/img/large.png": "tests/test_large.py makes the table",
    "python -m benchmarks.long play campaigns/imagenet-lite0.yaml --store STORE --record RECORD --hours 8": "hours",
    "python -m benchmarks.long plot RECORD --picture docs/img/long.png": "shows what hours recorded; tests/test_long.py fits",
    "python -m benchmarks.peers": "minutes, and the peers",
    "python -m benchmarks.reproducibility": "minutes, and other releases of PyTorch",
    "python -m benchmarks.reproducibility --shipped docs/results/figure4-small --images 12 --cells '*-pgd-*'": "needs CIFAR-10",
    "python -m benchmarks.scale cluster": "minutes",
    "python -m benchmarks.scale plan": "minutes",
    "python -m benchmarks.sealed": "minutes",
    "python -m benchmarks.shard_reads --before COMMIT": "minutes, and the history of the repository",
    "python -m benchmarks.strength --images 64 --steps 20 --draws 10": "an hour of a GPU",
    "python -m benchmarks.train": "minutes of a GPU",
    "python -m benchmarks.transforms": "minutes",
    "python -m benchmarks.transform_peers --before 3784bbb --rounds 5": "minutes, and the peers",
    "python -m docs.measured": "tests/test_measured.py makes the same page",
    "jupytext --to ipynb notebooks/1_table1.py": "tests/test_notebooks.py reads and runs the notebooks",
}
"""Commands that are not run but parsed: barrage's by its own parser, modules by the options that their source knows."""

TOOLS = {
    ".": "the reader's shell", "aws": "an account", "docker": "a daemon", "kubectl": "a cluster", "pip": "the network",
    "ray": "a cluster", "scancel": "a cluster", "squeue": "a cluster", "tail": "follows a file of a cluster's job",
}  # fmt: skip
"""Programs that are not ours and need what tests have not."""

MORE = {
    "check": ["--here", "--images=2"],
    "doctor": ["--no-rate"],
    "launch": ["--dry-run"],
    "plan": ["--no-calibrate", "--rate=100"],
    "run": ["--here"],
    "train": ["--here"],
}
"""Options that keep a command from starting a cluster, asking one, or measuring."""

CODES = {"check": (0, 1)}
"""Exit codes that are right: a tiny network passes no check."""

STANDS_FOR = {
    "CAMPAIGN": "campaigns/demo.yaml", "STORE": "stores/demo", "FILE": "cluster/slurm/example.yaml", "URL": "stores/new",
    "imagenet_01_559": sandbox.KEY, "COMMAND": "run",
}  # fmt: skip
"""What words of the pages are in the sandbox."""

COPIES = {"demo/mine.yaml": "campaigns/demo.yaml"}
"""Files that the reader copies and changes."""

SMALLER = {"docs/python.md": [("steps=40", "steps=2"), ("draws=10", "draws=2")]}
"""Numbers in code that would only take time."""


def given():
    """What the code of a page takes as there."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
    return {"my_network": nn.Sequential(*layers), "x": photographs(224, 224, 2), "label": torch.tensor([1, 2])}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return the sandbox, for reading only."""
    return once(folder(tmp_path_factory) / "sandbox", sandbox.made)


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A sandbox of a test's own, in which it stands."""
    for path in made.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(words):
    """Words of a page as the sandbox understands them: folders are the buckets."""
    return [STANDS_FOR.get(word, word).removeprefix("s3://") for word in words]


def typed(words, monkeypatch):
    """Runs a command of a page as its reader would."""
    text = shlex.join(words)
    if words[0] == "barrage":
        words = arguments(words)
        parsed(words)
        if text not in NOT_RUN:
            barrage([*words, *(o for o in MORE.get(words[1], []) if o.partition("=")[0] not in words)], monkeypatch)
    elif words[0] == "make":
        assert words[1] in re.findall(r"^([a-z-]+)(?:[a-z -]*):", (ROOT / "Makefile").read_text(), re.M)
    elif words[:2] == ["python", "-c"]:
        exec(words[2], {})
    elif words[:2] == ["python", "-m"]:
        module(words[2], [w for w in words[3:] if w.startswith("--")], text)
    elif words[0] == "cp":
        shutil.copy(*words[1:])
    elif words[:2] == ["pip", "install"]:
        extras = re.findall(r"barrage\[(\w+)\]", text)
        known = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
        assert set(extras) <= set(known), f"{text}: pyproject.toml has the extras {known}"
    else:
        assert text in NOT_RUN or words[0] in TOOLS, f"{text}: give it a way to be run, or a reason in NOT_RUN or TOOLS"


def barrage(words, monkeypatch, codes=None):
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as done:
        main()
    assert (done.value.code or 0) in (codes or CODES.get(words[1], (0,))), f"{shlex.join(words)}: {done.value.code}"


def module(name, options, text):
    """A module that is named to be run is there, and knows the options."""
    found = importlib.util.find_spec(name)
    assert found, f"{text}: there is no {name}"
    assert text in NOT_RUN or name == "pipeline", f"{text}: give a reason in NOT_RUN"
    main = Path(found.origin).with_name("__main__.py")  # of a package
    source = (main if found.submodule_search_locations else Path(found.origin)).read_text()
    assert all(f'"{option}"' in source for option in options), f"{text}: {name} does not know all of {options}"


def run_python(block, names):
    """Runs code of a page; `print(...)  # ...: what` must print that."""
    code = block.text
    for long, short in SMALLER.get(block.page, []):
        code = code.replace(long, short)
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(block), "exec"), names)
    for said in re.findall(r"^print\(.*\)  # [^:\n]*: (.*)$", code, re.M):
        assert said in printed.getvalue(), f"{block}: {said} is not what it prints"


def validated(text):
    """A file of the pages, or a part of one, by the schema; a part gets the sections that it leaves out."""
    content = yaml.safe_load(text)
    if "kind" in content:
        kinds: dict[str, Any] = {"classifier": classifier_training.ClassifierTraining, "bpda": bpda_training.BpdaTraining}
        return kinds[content["kind"]].model_validate(content)
    whole = {
        "name": "part", "data": {"shards": "x.tar"}, "models": {"m": {"architecture": "efficientnet_lite0"}},
        "defenses": {"d": {"k": 5}}, "attacks": {"a": {"eps": "8/255"}},
    } | content  # fmt: skip
    grid = {kind: list(whole[kind + "s"]) for kind in ("model", "defense", "attack")}
    return parse({"cells": [grid]} | whole, "page")


def run_block(block: Block, names, place, monkeypatch):
    """Runs a block as what it is; a block of an unknown kind is an error."""
    if block.title and block.kind in ("python", "yaml"):
        write_file(block, place)
    elif block.kind == "python":
        run_python(block, names)
    elif block.kind in ("sh", "indented"):
        for words in commands(block.text):
            typed(words, monkeypatch)
    elif block.kind == "yaml":
        validated(block.text)
    elif block.kind == "diff":  # of a campaign: what the reader changes, in small
        whole = yaml.safe_load(patched((ROOT / COPIES[block.title]).read_text(), block.text))
        parse(whole, block.title)
        (place / block.title).write_text(yaml.safe_dump(sandbox.small(whole, str(place / "demo/photos/images-000000.tar"))))
    elif block.kind == "text":  # what is shown: no place for commands
        assert not re.search(r"^(\$ |barrage |make |python |pip )", block.text, re.M), f"{block}: commands belong into sh"
    else:
        assert block.kind == "r", f"{block}: no way to run {block.kind!r}"  # test_the_r_snippet_runs


def write_file(block: Block, place):
    """Writes a file as the reader does; a campaign in small."""
    text = block.text
    if block.kind == "yaml":
        whole = yaml.safe_load(text)
        parse(whole, block.title)
        text = yaml.safe_dump(sandbox.small(whole, str(place / "demo/photos/images-000000.tar")))
    (place / block.title).write_text(text)


OWN = {"docs/extending.md": "makes a package and runs it: tests/test_example.py"}
"""Pages whose blocks have a test of their own."""


@pytest.mark.parametrize("page", [page for page in PAGES if name(page) not in OWN], ids=name)
def test_every_block_of_a_page_runs(page, place, monkeypatch):
    names = given() if page.name == "python.md" else {}
    for block in blocks(page):
        run_block(block, names, place, monkeypatch)
    for text in inline(page):
        words = shlex.split(text)
        if words[0] == "barrage" and (len(words) == 2 + (words[1] == "board") or set(words) & set(STANDS_FOR)):
            parsed(arguments(words))
        else:
            typed(words, monkeypatch)
    if page.name == "python.md":
        assert names["verdict"].top5.shape == (2, 20, 5) and names["state"].step.host.tolist() == [2, 2]
        assert len(names["scores"]) == 3 * sandbox.IMAGES and names["y"].shape == names["x"].shape


def test_reasons_are_given_for_commands_that_are_there():
    shell = [block for page in PAGES for block in blocks(page) if block.kind in ("sh", "indented")]
    said = {shlex.join(words) for block in shell for words in commands(block.text)}
    said |= {shlex.join(shlex.split(text)) for page in PAGES for text in inline(page)}
    assert set(NOT_RUN) <= said, f"no page has {set(NOT_RUN) - said}: drop the reasons"
    assert set(OWN) <= {name(page) for page in PAGES}


def test_the_r_snippet_runs(place):
    found = [block for page in PAGES for block in blocks(page) if block.kind == "r"]
    assert found
    assert dataset("demo/store/results").count_rows() == 3 * sandbox.IMAGES
    if shutil.which("Rscript") is None or subprocess.run(["Rscript", "-e", "library(arrow); library(dplyr)"]).returncode:
        pytest.skip("needs R with its packages arrow and dplyr")
    for block in found:
        done = subprocess.run(["Rscript", "-e", block.text], capture_output=True, text=True, check=True)
        assert "lite0-bart5-pgd" in done.stdout


def test_the_newcomers_path(place, monkeypatch, capsys):
    """The README's: k and eps changed in the demo's campaign, refused where the old rows are, run elsewhere; and a cell added
    where they are."""
    (change,) = (block for block in blocks(ROOT / "README.md") if block.kind == "diff")
    run_block(change, {}, place, monkeypatch)
    barrage(["barrage", "run", "demo/mine.yaml", "--here"], monkeypatch, codes=(2,))
    said = capsys.readouterr().err
    assert "attack.eps was 0.0313725, is 0.0156863; use another --store" in said, said
    barrage(["barrage", "run", "demo/mine.yaml", "--here", "--store", "demo/mine"], monkeypatch)
    rows = results("demo/mine").to_pandas()
    assert set(rows.k) == {0, 3, 5} and set(rows.eps.round(6)) == {round(4 / 255, 6)}

    more = yaml.safe_load((place / "campaigns" / "demo.yaml").read_text())
    more["defenses"]["bart3"] = more["defenses"]["bart5"] | {"k": 3}
    more["cells"][0]["defense"].append("bart3")
    (place / "campaigns" / "demo.yaml").write_text(yaml.safe_dump(more))
    before = {path: path.read_bytes() for path in (place / "demo" / "store" / "results").rglob("*.parquet")}
    barrage(["barrage", "run", "campaigns/demo.yaml", "--here"], monkeypatch)
    assert before and all(path.read_bytes() == data for path, data in before.items())
    assert Reader("demo/store").status().complete and set(results("demo/store").to_pandas().k) == {0, 3, 5, 10}


def test_the_demo_ends_with_its_report():
    recipe = (ROOT / "Makefile").read_text().partition("\ndemo: ")[2].partition("\n\n")[0]
    lines = [line.replace("$(BIN)/", "").strip() for line in recipe.splitlines()[1:]]
    assert [words[1] for line in lines for words in commands(line.partition("||")[2] or line)] == ["pack", "run", "report"]
    for line in lines:
        for words in commands(line.partition("||")[2] or line):
            parsed(words)
    assert "`demo/report.html`" in (ROOT / "README.md").read_text() and "-o demo/report.html" in recipe


def test_the_page_of_intervals_quotes_its_benchmark():
    found = (ROOT / "docs" / "results" / "intervals.txt").read_text().splitlines()
    page = (ROOT / "docs" / "intervals.md").read_text()
    figures = [line for line in found if "->" in line or line.startswith(("Below", "Widths"))]
    assert len(figures) > 25 and not [line for line in figures if line not in page], "write the page's figures again"
    assert not [line for line in page.splitlines() if re.match(r"\|.*\d -> \d", line) and line not in found]
