"""Certificates of a defense by Gaussian noise: counted, resumed and checked as attacks are, in rows that hold counts alone."""

import os
import signal
import time

import pytest
import torch
from scipy import stats

from pipeline import analysis
from pipeline.campaigns.attempt.certificates import fault
from pipeline.campaigns.verification.replay import replay
from pipeline.campaigns.verification.verify import verify
from pipeline.config.campaign import parse
from pipeline.reports.page.content import gather
from pipeline.scoring import summaries
from pipeline.store.rows import results
from pipeline.store.schema import LATEST
from tests.support import tiny
from tests.support.campaigns import checkpoints, command, ran, rows

SIGMA = 0.15


def content(pattern, defense=None, network="network", **attack):
    """Return a campaign that certifies the images of the shards, and attacks them in L2."""
    certify = {"kind": "certify", "eps": 0.02, "first": 30, "draws": 250, "alpha": 0.01} | attack
    return tiny.campaign(
        pattern,
        models={"net": {"architecture": f"tests.support.tiny:{network}", "classes": tiny.CLASSES}},
        defenses={"noise": defense or {"kind": "gaussian", "sigma": SIGMA}},
        attacks={"certify": certify, "pgd": {"norm": "l2", "eps": 0.02, "steps": 2, "eot_draws": 2}},
        cells=[{"model": "net", "defense": "noise", "attack": ["certify", "pgd"]}],
    )


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("BARRAGE_ALLOW_MODULES", "tests.support")


@pytest.fixture(scope="module")
def done(packed, tmp_path_factory):
    """Return the job of a finished campaign of certificates; for reading only."""
    place = tmp_path_factory.mktemp("certify")
    job, outcome = ran(content(str(packed / "shards" / tiny.SHARDS)), place / "store")
    assert outcome.exit_code == 0
    return job


def certificates(store):
    return [row for row in results(str(store)).to_pylist() if row["attack"] == "certify"]


def test_rows_hold_counts_and_the_radius_of_the_authors_formula(done):
    found = certificates(done.store)
    assert len(found) == 8 and any(row["certified_radius"] for row in found)
    for row in found:
        assert row["smoothed_draws"] == 250 and 0 <= row["smoothed_votes"] <= 250 and len(row["adv_top5"]) == 4
        assert (row["grad_evals"], row["forward_evals"], row["linf"]) == (0, 30 + 250 + 2 * 4, 0.0)
        votes = row["smoothed_votes"]
        p = stats.beta.ppf(0.01, votes, 250 - votes + 1) if votes else 0.0
        if p < 0.5:
            assert row["certified_radius"] is None
        else:
            assert row["certified_radius"] == pytest.approx(SIGMA * stats.norm.ppf(p))
    others = [row for row in results(done.store).to_pylist() if row["attack"] == "pgd"]
    assert {(row["smoothed_class"], row["smoothed_votes"], row["certified_radius"]) for row in others} == {(None, None, None)}
    assert list(verify(done, 8)) == []


def test_rows_are_equal_for_other_units_and_stacks_and_an_image_alone(done, pattern, tmp_path):
    ran(content(pattern) | {"unit_images": 1, "workers": {"stack": 3}}, tmp_path / "b")
    but = {"unit", *LATEST}  # a network rounds otherwise in another batch
    assert rows(done.store, but) == rows(tmp_path / "b", but)
    assert not replay(done, certificates(done.store)[0], torch.device("cpu")).differences


@pytest.mark.slow
def test_a_killed_run_resumes_from_its_votes(pattern, write, tmp_path, monkeypatch):
    made = content(pattern, network="slow_network", draws=1500)
    path, store = write(made), tmp_path / "killed"
    process = command(path, store, "run", "--here", BARRAGE_ALLOW_MODULES="tests.support")
    deadline = time.monotonic() + 90
    while not checkpoints(store) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoints(store), "it was killed before its first checkpoint"
    monkeypatch.setenv("TINY_PAUSE", "0")
    ran(made, store)
    ran(made, tmp_path / "quiet")
    assert rows(store) == rows(tmp_path / "quiet")


def test_the_table_and_the_curve_count_what_rows_say(done):
    found = certificates(done.store)
    right = [row["certified_radius"] or -1.0 if row["smoothed_class"] == row["label"] else -1.0 for row in found]
    (line,) = (line for line in summaries.lines(results(done.store)) if line.certified)
    assert line.certified.value == sum(radius >= 0.02 for radius in right) / 8
    assert "certified at its eps" in " ".join(summaries.notes([line]))
    frame = analysis.certified(done.store, [0.0, 0.02, 9.0])
    assert frame["certified"].tolist() == [sum(r >= radius for r in right) / 8 for radius in (0.0, 0.02, 9.0)]
    assert frame["abstained"].tolist() == [sum(row["certified_radius"] is None for row in found) / 8] * 3
    page = gather(done.store)
    assert {p["cell"] for p in page.points["certified"]} == {"net-noise-certify"}
    flags = {(p["cell"], p["l2"], p["defended"]) for p in page.points["curves"]["points"]}
    assert flags == {("net-noise-certify", False, "net, noise"), ("net-noise-pgd", True, "net, noise")}


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        (
            {"k": 2, "transforms": ["grey_mix", "jpeg"]},
            "certify needs a defense that first adds Gaussian .* noise is barrage, k 2",
        ),
        ({"kind": "gaussian", "sigma": 0.1, "frozen": True}, "noise is gaussian, frozen.*: use the kind gaussian"),
        ({"kind": "bit_depth"}, "noise is bit_depth: use"),
    ],
)
def test_defenses_without_noise_are_refused(defense, said, pattern, tmp_path):
    with pytest.raises(ValueError, match=said):
        ran(content(pattern, defense), tmp_path / "store")
    assert not (tmp_path / "store" / "campaign.yaml").exists()


def test_a_changed_radius_is_noticed(done):
    cell = done.cells["net-noise-certify"]

    row = next(row for row in certificates(done.store) if row["certified_radius"])
    assert fault(cell, row) == "" and "follows from smoothed_votes" in fault(cell, row | {"certified_radius": 0.5})
    assert fault(cell, row | {"certified_radius": None})


@pytest.mark.parametrize("change", [{"alpha": 0}, {"alpha": 0.5}, {"draws": 0}, {"norm": "linf"}, {"first": 0}])
def test_settings_out_of_range_are_refused(change, pattern):
    with pytest.raises(ValueError, match=next(iter(change))):
        parse(content(pattern, **change), "c")
