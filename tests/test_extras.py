"""Hold what each part needs to run: `import bart` its four packages, the campaigns one extra, and a missing extra one line."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml

from pipeline import extras
from tests.support.source.imports import ROOT, imports, modules, tops

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {"numba", "numpy", "pywavelets", "torch"}
WITH_TORCH = {"triton"}
"""What PyTorch's builds for NVIDIA GPUs bring, and its builds for processors do without."""
WITH_PYDANTIC = {"pydantic-core"}
"""What every release of pydantic pins and installs."""

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def names(requirements):
    """Return the names of the distributions that requirements ask for, as PyPI writes them."""
    return {re.split(r"[\[<>=~! ]", text)[0].lower().replace("_", "-") for text in requirements}


def without(packages, code):
    """Run code in a Python that finds none of these packages."""
    script = BLOCKED.format(names=set(packages)) + code
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)


def distributions(package):
    """Return the distributions whose packages the modules of `package` import, by the names that PyPI writes."""
    known = packages_distributions()
    found = tops(name for path in modules(package).values() for name in imports(path)) - sys.stdlib_module_names
    ours = {"barrage_plugins", "bart", "pipeline", "cluster"}
    return {dist.lower().replace("_", "-") for name in found - ours for dist in known.get(name, [name])}


EVERY_EXTRA = [package for packages in extras.PACKAGES.values() for package in packages]


def test_bart_runs_with_the_core_packages_alone():
    assert names(PROJECT["dependencies"]) == CORE
    assert distributions("bart") <= CORE | WITH_TORCH
    code = """
import torch, bart
images, keys = torch.rand(2, 3, 32, 32), bart.Mirror.of(torch.tensor([bart.key("a", 0), bart.key("a", 1)]), "cpu")
barrage = bart.Barrage(2)
print(barrage.apply(images, barrage.draw(keys, (32, 32))).shape)
"""
    done = without({*EVERY_EXTRA, *WITH_TORCH}, code)
    assert done.returncode == 0 and "[2, 3, 32, 32]" in done.stdout, done.stderr


def test_every_import_is_of_the_core_or_of_an_extra():
    found = distributions("pipeline") | distributions("cluster")
    offered = names(PROJECT["dependencies"]) | names(
        text for name, texts in PROJECT["optional-dependencies"].items() if name not in ("dev", "docs") for text in texts
    )
    assert found and not found - offered - WITH_TORCH - WITH_PYDANTIC


@pytest.mark.parametrize("extra", list(extras.PACKAGES))
def test_the_packages_of_an_extra_are_those_of_pyproject(extra):
    known = packages_distributions()
    listed = {dist.lower().replace("_", "-") for package in extras.PACKAGES[extra] for dist in known[package]}
    assert listed == names(PROJECT["optional-dependencies"][extra]) - {"barrage"}


@pytest.mark.parametrize("missing", [["typer"], ["rich"], ["pydantic", "yaml"]])
def test_the_command_names_the_extra_that_it_lacks(missing):
    code = "sys.argv = ['barrage', 'run', 'campaigns/demo.yaml']\nfrom pipeline.__main__ import main\nmain()"
    done = without(missing, code)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(r"barrage: this command needs \w+, which is not installed: pip install 'barrage\[campaigns\]'", line)


def test_the_version_is_the_same_everywhere():
    version = PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"-t barrage:{version} ." in (ROOT / "cluster" / "Dockerfile").read_text()
    assert re.search(rf"^## (Unreleased|{re.escape(version)} )", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_an_import_that_no_extra_mends_stays_an_error():
    with pytest.raises(ModuleNotFoundError, match="nowhere"), extras.explained():
        import nowhere  # noqa: F401


def test_the_oldest_releases_that_are_tested_are_those_that_are_allowed():
    """Each bound of what runs and shows campaigns is the beginning of its pin: 1.0 of 1.0.3, which was its first release."""
    extras = PROJECT["optional-dependencies"]
    asked = PROJECT["dependencies"] + [
        text for name in ("campaigns", "demo", "timm", "torchvision", "report", "view") for text in extras[name]
    ]
    bounds = dict(text.split(">=") for text in asked if ">=" in text)
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins.keys() == bounds.keys() and len(pins) > 20
    assert not {name: bound for name, bound in bounds.items() if not f"{pins[name]}.0.".startswith(f"{bound}.")}
