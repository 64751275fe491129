"""Campaign files and weights that come with barrage are found from any folder; `barrage demo` runs there too."""

from pathlib import Path

import pytest
import yaml

from pipeline.cli.work import demo
from pipeline.config.campaign import Model
from pipeline.config.shipped import shipped
from pipeline.models import loading
from tests.support.source.pages import ROOT

WEIGHTS = "campaigns/weights/cifar10-bart.safetensors"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_campaign_that_help_names_is_found_and_said_in_one_line(barrage):
    code, out, err = barrage("plan", "campaigns/demo.yaml", "--no-calibrate", "--images", "20")
    assert code == 0 and "lite0-bart5-pgd" in out
    first, *_ = err.splitlines()
    assert first == f"campaigns/demo.yaml is not in this folder: taken from {ROOT}/campaigns/demo.yaml, which came with barrage"


def test_a_file_in_the_working_directory_comes_first(barrage):
    Path("campaigns").mkdir()
    Path("campaigns/demo.yaml").write_text("name: mine")
    code, _, err = barrage("plan", "campaigns/demo.yaml")
    assert code == 2 and len(err.splitlines()) == 1 and "campaigns/demo.yaml, data: is missing" in err


def test_only_files_of_campaigns_that_exist_are_found(barrage):
    for path in ("campaigns/none.yaml", "campaigns", "demo.yaml", "other/campaigns/demo.yaml", "pyproject.toml"):
        assert shipped(Path(path)) == Path(path)
    code, _, err = barrage("run", "campaigns/none.yaml")
    assert code == 2 and len(err.splitlines()) == 1 and "campaigns/none.yaml does not exist" in err


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    """As in a wheel: pipeline/shipped/campaigns."""
    package = tmp_path / "site" / "pipeline"
    (package / "config").mkdir(parents=True)
    (package / "shipped" / "campaigns").mkdir(parents=True)
    (package / "shipped" / "campaigns" / "demo.yaml").touch()
    monkeypatch.setattr("pipeline.config.shipped.__file__", str(package / "config" / "shipped.py"))
    assert shipped(Path("campaigns/demo.yaml")) == package / "shipped" / "campaigns" / "demo.yaml"


def test_weights_inside_a_shipped_campaign_are_found_too():
    model = Model(architecture="resnet20_cifar", classes=10, weights=WEIGHTS)
    assert loading.weights_file(model) == ROOT / WEIGHTS and loading.checked(model).weights == WEIGHTS
    loading.build(model)


@pytest.mark.parametrize("name", ["pack", "run"])
def test_the_demo_packs_runs_and_reports_and_goes_on_where_it_stopped(barrage, name):
    """A demo in small: the working directory has a campaigns/demo.yaml of its own."""
    content = yaml.safe_load((ROOT / "campaigns" / "demo.yaml").read_text())
    content["data"] |= {"limit": 2, "resize": 40, "crop": 32}
    content["attacks"]["pgd"] |= {"steps": 1, "eot_draws": 1}
    content["cells"][0]["defense"] = ["none"]
    Path("campaigns").mkdir()
    Path("campaigns/demo.yaml").write_text(yaml.safe_dump(content))
    if name == "run":
        assert barrage("pack", "demo", "demo/photos")[0] == 0
    code, out, _ = barrage("demo", "--here")
    assert code == 0 and "demo/report.html" in out
    assert ("demo/photos/images-000000.tar" in out) == (name == "pack")
    assert "lite0-none-pgd" in Path("demo/report.html").read_text()


def test_the_demo_says_what_to_install(barrage, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "foolbox" else name)
    code, _, err = barrage("demo")
    assert code == 2 and err == "barrage: the demo needs foolbox, which is not installed: pip install 'barrage[demo]'\n"
    assert not Path("demo").exists()
