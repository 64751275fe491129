"""The page on kinds of one's own, followed to its last line, makes a package that works: examples/barrage-example."""

import json
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from barrage_plugins import modules
from pipeline.campaigns.prepare import prepare
from pipeline.config.campaign import parse
from pipeline.store.rows import results
from tests.support import sandbox, tiny
from tests.support.source.pages import ROOT, blocks, commands

PAGE, EXAMPLE = ROOT / "docs" / "extending.md", ROOT / "examples" / "barrage-example"
ALONE = "my_kinds.py"
"""The file of the page that is no part of the package."""
DEPEND_ON_TABLES = [
    "tests/test_reference.py",
    "tests/test_measured.py",
    "tests/bart/defenses/test_barrage.py",
    "tests/bart/bpda",
    "tests/bart/test_losses.py",
    "tests/pipeline/analysis/test_analysis.py",
    "tests/pipeline/campaigns/test_every_attack.py",
    "tests/pipeline/config",
    "tests/pipeline/reports/test_gallery.py",
    "tests/pipeline/scoring",
]


def test_the_page_holds_the_files_of_the_example():
    files = {block.title: block.text for block in blocks(PAGE) if block.title and block.title != ALONE}
    there = [path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml", ".yaml") and "build" not in path.parts]
    assert {str(path.relative_to(EXAMPLE)): path.read_text() for path in there} == files


class Package:
    """A folder with the files of the page, installed beside this checkout, and a way to type commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder, folder / "site"

    def environment(self, **more):
        paths = os.pathsep.join([str(ROOT), str(self.site), *filter(None, [more.pop("PYTHONPATH", "")])])
        return os.environ | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1", modules.ALLOW: "tests"} | more

    def type(self, words, code=0, **more):
        """Run a command of the page; return what it says."""
        while "=" in words[0]:
            name, _, value = words[0].partition("=")
            words, more = words[1:], more | {name: value}
        call = ["-m", "pipeline", *words[1:]] if words[0] == "barrage" else words[1:]
        if words[0] == "pip":  # without the network, and away from this environment
            quietly = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
            call = ["-m", "pip", "install", *quietly, "--target", str(self.site), "."]
        done = subprocess.run(
            [sys.executable, *call], cwd=self.folder, env=self.environment(**more), capture_output=True, text=True
        )
        assert done.returncode == code, f"{shlex.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package of the page, installed."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("needs pip in this environment")
    folder = tmp_path_factory.mktemp("example")
    for block in blocks(PAGE):
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
    shards = str(tiny.packed(folder) / "photos-{000000..000001}.tar")
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(sandbox.small(yaml.safe_load(path.read_text()), shards)))
    made = Package(folder)
    made.type(["pip", "install", "-e", "."])
    return made


@pytest.fixture(scope="module")
def said(package):
    """What the commands of the page print, in their order; they make the store stores/example."""
    typed = [words for block in blocks(PAGE) if block.kind == "sh" for words in commands(block.text)]
    typed = [words for words in typed if words[:2] not in (["pip", "install"], ["barrage", "pack"])]
    return [package.type([*words, *(["--here"] if words[:2] == ["barrage", "run"] else [])]) for words in typed]


@pytest.mark.slow
def test_every_command_of_the_page_works(package, said):
    tests, run, two_thirds, verified, half = said
    assert " passed" in tests and "failed" not in tests
    assert "lite0-negative-decay" in run and "lite0-noise-decay" in run and "verified: every planned row once" in verified
    assert "lite0-noise-decay" in two_thirds and "lite0-noise-decay" in half

    recorded = yaml.safe_load((package.folder / "stores/example/campaign.yaml").read_text())
    assert recorded["definitions"] == {
        "transforms": {"hist_eq": 1, "negative": 1}, "attacks": {"decay": 1}, "defenses": {"barrage": 1, "speckle": 1},
        "losses": {"odds": 1}, "estimators": {"worst_draw": 1}, "draws": {"evaluation": 2},
    }  # fmt: skip
    added = [("transforms", "negative"), ("attacks", "decay"), ("defenses", "speckle"), ("losses", "odds")]
    source = {"source": "barrage-example", "version": "0.1.0"}
    assert recorded["plugins"] == [
        {"table": table, "name": name} | source for table, name in [*added, ("estimators", "worst_draw")]
    ]


@pytest.mark.slow
def test_the_rows_and_the_table_are_those_of_the_kinds(package, said):
    rows = results(str(package.folder / "stores" / "example")).to_pylist()
    assert len(rows) == 2 * 8 and {row["status"] for row in rows} == {"ok"}
    assert {(row["cell"], row["k"]) for row in rows} == {("lite0-negative-decay", 1), ("lite0-noise-decay", 0)}
    assert all(row["evaluation_draws"] == 2 and row["eot_draws"] == 2 and row["grad_evals"] == 2 for row in rows)
    lines = json.loads(package.type(["barrage", "table", "stores/example", "--rule", "two_thirds", "--format", "json"]))
    for line in lines:
        mine = [row for row in rows if row["cell"] == line["cell"]]
        for name, column in (("clean_top1", "clean_correct"), ("adv_top1", "adv_correct"), ("adv_top5", "adv_top5_correct")):
            assert line[name] == pytest.approx(sum(3 * row[column] >= 2 * 2 for row in mine) / len(mine))


@pytest.mark.slow
def test_a_store_of_kinds_that_are_not_here_names_their_package(package, said):
    package.site.rename(package.folder / "away")
    try:
        refused = package.type(["barrage", "verify", "stores/example"], code=2)
        assert package.type(["barrage", "status", "stores/example"]) and package.type(["barrage", "table", "stores/example"])
    finally:
        (package.folder / "away").rename(package.site)
    assert "unknown transform 'negative'" in refused and len(refused.strip().splitlines()) == 1
    assert "the store was made with barrage-example 0.1.0: install that, or allow that module" in refused


@pytest.mark.slow
def test_a_package_that_fails_is_named_and_other_campaigns_run(package):
    """The kinds that need it are refused in one line."""
    broken = package.site / "barrage_example" / "attack.py"
    text = broken.read_text()
    broken.write_text("import a_module_that_is_not_there\n")
    try:
        refused = package.type(["barrage", "run", "campaign.yaml", "--here"], code=2)
        other = tiny.campaign(str(package.folder / "shards" / "photos-{000000..000001}.tar"))
        (package.folder / "other.yaml").write_text(yaml.safe_dump(other))
        package.type(["barrage", "run", "other.yaml", "--here"])
    finally:
        broken.write_text(text)
    assert "attack kind 'decay' of barrage-example 0.1.0 cannot be imported (ModuleNotFoundError" in refused
    assert len(refused.strip().splitlines()) == 1


def test_a_worker_elsewhere_has_the_kinds_of_the_modules_that_the_driver_allowed(tmp_path, monkeypatch):
    """A process that knows only the pickled job: no command line, no environment variable."""
    (tmp_path / "strange_kinds.py").write_text(
        "from bart import TRANSFORMS\nfrom dataclasses import replace\n"
        "BARRAGE_PLUGINS = {'transforms': {'strange': replace(TRANSFORMS.builtin['grey_mix'], name='strange')}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(modules, "_allowed", {"tests", "strange_kinds"})
    pattern = str(tiny.packed(tmp_path) / "photos-{000000..000001}.tar")
    content = tiny.campaign(pattern, defenses={"none": {"k": 0}, "bart2": {"k": 1, "transforms": ["strange"]}})
    job = prepare(parse(content, "c.yaml"), str(tmp_path / "store"))
    del sys.modules["strange_kinds"]
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    code = (
        "import pickle, sys, threading, torch\nfrom pathlib import Path\nfrom pipeline.campaigns.worker import Worker\n"
        "job = pickle.loads(Path(sys.argv[1]).read_bytes())\nassert 'strange_kinds' not in sys.modules\n"
        "worker = Worker(job, torch.device('cpu'), threading.Event())\n"
        "print(worker.defended(job.cells['net-bart2-pgd']).defense.names, job.cells['net-bart2-pgd'].identity)"
    )
    environment = {name: value for name, value in os.environ.items() if name != modules.ALLOW}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    call = [sys.executable, "-c", code, str(tmp_path / "job.pickle")]
    done = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["['strange']", job.cells["net-bart2-pgd"].identity], done.stderr


@pytest.mark.slow
def test_actors_of_ray_have_the_kinds_too(package):
    said = package.type(["barrage", "run", "campaign.yaml", "--store", "stores/ray"])
    assert "lite0-negative-decay" in said and "lite0-noise-decay" in said
    assert "verified" in package.type(["barrage", "verify", "stores/ray"])


@pytest.mark.slow
@pytest.mark.parametrize("tests", DEPEND_ON_TABLES)
def test_what_depends_on_tables_passes_with_the_package_installed(package, tests):
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", tests]
    environment = package.environment() | {"PYTHONSAFEPATH": ""}
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
