"""The results that ship: of the campaign files and weights that ship, and every number of their page from their rows."""

import re
from pathlib import Path

import pytest

from docs import measured
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import resolve
from pipeline.config.campaign import load

ROOT = Path(__file__).parents[1]
CAMPAIGNS = sorted(path.name for path in (ROOT / "docs" / "results").iterdir() if (path / "campaign.yaml").is_file())


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_page_says_what_the_rows_say():
    assert (ROOT / "docs" / "results.md").read_text() == measured.page(), "rebuild it: python -m docs.measured"


def test_the_readme_has_the_table_of_the_page():
    text = (ROOT / "README.md").read_text().partition("## What it measured on ImageNet")[2].partition("\n## ")[0]
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    assert table.count("\n") == 4 and table in (ROOT / "docs" / "results.md").read_text()


def test_every_figure_of_the_article_has_its_results():
    assert {f"{name}-small" for name in ("table1", "figure4", "single_transforms", "epsilon", "strongest")} <= set(CAMPAIGNS)


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_the_results_are_those_of_the_files_that_ship(campaign):
    asked = {cell.name: cell.identity for cell in resolve(load(ROOT / "campaigns" / f"{campaign}.yaml")).grid()}
    job = opened(str(ROOT / "docs" / "results" / campaign))
    assert {name: cell.identity for name, cell in job.cells.items()} == asked
    lines = measured.table(campaign).xs("single", level="rule")
    assert set(lines.index) == set(asked)
    assert (lines["images"] == sum(job.images.values())).all() and not lines["failed"].any(), "every planned image is there"


@pytest.mark.parametrize(
    ("network", "row"),
    [("plain", "two cores: "), ("adversarial", "adversarial training (one"), ("bart", "BaRT training, k ~ U{0..5}, from")],
)
def test_the_page_of_trainings_says_what_the_manifests_say(network, row):
    """The accuracy of the networks that ship, which `barrage train` wrote into their files."""
    (line,) = [line for line in (ROOT / "docs" / "training.md").read_text().splitlines() if line.startswith(f"| {row}")]
    found = measured.manifest(network)["accuracy"]
    expected = [f"{100 * found[k]:.1f}" if k in found else "" for k in ("0", "5", "10")]
    assert [cell.strip() for cell in line.split("|")[2:5]] == expected


def test_a_row_that_is_lost_changes_the_page(monkeypatch):
    whole, real = measured.page(), measured.table
    lines = measured.table("table1-small").copy()
    lines.loc[("bart-bart5-article", "single"), ["adv_top1", "adv_top1_low", "adv_top1_high"]] += 0.01
    monkeypatch.setattr(measured, "table", lambda campaign: lines if campaign == "table1-small" else real(campaign))
    assert measured.page() != whole


def printed(name):
    """The lines that `python -m benchmarks.standard` printed: an attack, what it leaves, the comparison."""
    pattern = re.compile(
        r"^  (\S.*?) {2,}([\d.]+)(?:   ([+-][\d.]+ \[.*?\]) +(\d+) images less, +(\d+) more, p = (\S+))?$", re.M
    )
    return pattern.findall((ROOT / "docs" / "results" / "standard" / name).read_text())


@pytest.mark.parametrize("name", ["rivals", "ablations"])
def test_the_page_of_the_standard_attack_says_what_was_printed(name):
    rows, page = {}, (ROOT / "docs" / "standard.md").read_text()
    for attack, left, difference, less, more, p in printed(f"{name}.txt"):
        cells = [left + f", {difference}" * bool(difference)]
        cells += [f"{less}, {more}" * bool(p), f"p = {p}" * bool(p)] if name == "ablations" else []
        rows.setdefault(attack, []).extend(cells)
    assert len(rows) > 9
    for attack, cells in rows.items():
        assert f"| {attack} | {' | '.join(cells)} |\n" in page
