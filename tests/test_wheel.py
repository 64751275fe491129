"""Build the wheel, install it into an empty environment, and run a campaign there: nothing may come from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.support import tiny
from tests.support.source.imports import ROOT

pytestmark = pytest.mark.slow

PACKAGES = ("barrage_plugins", "bart", "pipeline", "cluster", "campaigns")
NOT_SHIPPED = {"cluster/README.md", "cluster/Dockerfile.dockerignore"}
SHIPPED = "pipeline/shipped"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the source archive that is built from a copy of the checkout."""
    pytest.importorskip("build", reason="needs barrage[dev]")
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(source / "built"), str(source)]
    done = subprocess.run(command, cwd=source, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (source / "built").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of the programs of an environment that has the wheel, and the dependencies of the one that tests run in."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False, symlinks=True)
    library = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(place / "bin" / "python"),
        "install",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(command, cwd=place, env=_environment(), check=True, capture_output=True)
    return place / "bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder outside the checkout."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def call(installed, folder):
    """A function that runs a program of the environment in the folder and returns what it prints."""

    def called(program, *arguments):
        command = [str(installed / program), *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return called


def _environment():
    """The variables of this process, without what leads to the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "200"}


def _files(package):
    paths = (path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in paths} - NOT_SHIPPED


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel(wheel, package):
    held = {name.removeprefix(f"{SHIPPED}/") for name in ZipFile(wheel).namelist() if "dist-info" not in name}
    assert _files(package) and not _files(package) - held


def test_the_wheel_holds_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in ZipFile(wheel).namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"barrage_plugins", "bart", "pipeline", "cluster"}
    assert any(name.endswith("licenses/LICENSE") for name in ZipFile(wheel).namelist())


def test_the_version_of_a_wheel_is_that_of_its_name(call, wheel):
    version = wheel.name.split("-")[1]
    assert call("barrage", "--version").startswith(f"barrage {version}, commit {version}, torch ")


def test_packages_are_those_of_the_wheel(call, installed):
    places = call("python", "-c", "import bart, pipeline, cluster\nfor p in (bart, pipeline, cluster): print(p.__file__)")
    assert all(Path(place).is_relative_to(installed.parent) for place in places.split()) and len(places.split()) == 3


@pytest.fixture(scope="module")
def campaign(call, folder):
    """The name of a campaign file in that folder: a shipped classifier, eight images next to it."""
    place = Path(call("python", "-c", "import pipeline; print(*pipeline.__path__)").strip()).parent / SHIPPED / "campaigns"
    asked = tiny.campaign(str(tiny.packed(folder) / "photos-{000000..000001}.tar"), store="store")
    weights = str(place / "weights" / "cifar10-bart.safetensors")
    asked["attacks"] = {"pgd": {"eps": "8/255", "steps": 2, "eot_draws": 1}}
    asked["models"] = {"net": {"architecture": "resnet20_cifar", "classes": 10, "weights": weights}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(asked))
    return "tiny.yaml"


def test_a_campaign_runs_where_there_is_no_checkout(call, folder, campaign):
    """As the demo: photographs, a shipped classifier, Ray, rows, tables and a page."""
    assert "run a campaign" in call("barrage", "--help").lower()
    assert "net-bart2-pgd" in call("barrage", "plan", campaign, "--no-calibrate")
    call("barrage", "run", campaign)
    files = list((folder / "store" / "results").rglob("*.parquet"))
    rows = pd.concat(pq.read_table(path).to_pandas() for path in files)
    assert set(rows["status"]) == {"ok"} and rows.groupby("cell").size().to_dict() == {"net-bart2-pgd": 8, "net-none-pgd": 8}
    assert "net-bart2-pgd" in call("barrage", "table", "store", "--format", "csv")
    call("barrage", "verify", "store")
    call("barrage", "report", "store", "-o", "report.html", "--figures", "figures")
    assert "net-bart2-pgd" in (folder / "report.html").read_text()
    assert (folder / "figures" / "table1.csv").exists()


def test_recipes_of_clusters_are_filled_from_the_wheel(call, folder, campaign):
    assert "--on" in call("barrage", "launch", "--help")
    (folder / "site.yaml").write_text((ROOT / "cluster" / "slurm" / "example.yaml").read_text())
    said = call("barrage", "launch", campaign, "--on", "slurm", "--cluster", "site.yaml", "--store", "store", "--dry-run")
    assert "#SBATCH" in said
