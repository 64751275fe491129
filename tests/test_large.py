"""The exponents of what stages take, on curves that are known; what the page says of them; the campaign that is measured."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.large import CELLS, exponents, ground
from benchmarks.large.exponents import Exponents
from pipeline.config.campaign import load
from pipeline.data import shards
from tests.support import tiny
from tests.support.source.pages import ROOT

SIZES = (1000, 3000, 10_000, 30_000, 100_000)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (lambda n: 4 + 2e-3 * n, 1),
        (lambda n: 4 + 1e-7 * n**2, 2),
        (lambda n: 2 * n**0.5, 0.5),
    ],
)
def test_the_exponent_is_that_of_the_growing_part(curve, expected):
    found = exponents.exponents({n: curve(n) for n in SIZES})
    assert found.last == pytest.approx(expected, abs=0.1) and found.all == pytest.approx(expected, abs=0.2)
    assert ("not linear" in str(found)) == (expected > 1.1)


def test_a_quadratic_part_that_is_small_is_seen_in_the_last_decade():
    """At 100,000 images half of the time is of the quadratic part."""
    found = exponents.exponents({n: 3 + 1e-3 * n + 1e-8 * n**2 for n in SIZES})
    assert found.last > 1.2 > found.all


def test_what_does_not_grow_has_no_exponent():
    random = np.random.default_rng(0)
    assert exponents.exponents({n: 800 * (1 + 0.01 * random.normal()) for n in SIZES}) == Exponents(None, None)


def test_the_table_names_what_is_not_linear(tmp_path):
    rows = [
        (n, stage, 3 + rate(n), 1.0, 800.0)
        for n in SIZES
        for stage, rate in (("plan", lambda n: n / 1e3), ("view", lambda n: n**2 / 1e6))
    ]
    taken = pd.DataFrame(rows, columns=["images", "stage", "cores", "clock", "peak"])
    told = [line.split()[0] for line in exponents.lines(taken) if "not linear" in line]
    assert told == ["view"]
    exponents.draw(taken, tmp_path / "large.png")
    assert (tmp_path / "large.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_and_the_results_say_what_was_measured():
    told = exponents.lines(exponents.read(ROOT / "docs" / "results" / "large"))
    results = (ROOT / "docs" / "results" / "large.txt").read_text()
    assert results.splitlines()[-len(told) :] == told, "rebuild it: python -m benchmarks.large show docs/results/large"
    assert not [line for line in told if line not in (ROOT / "docs" / "long-and-large.md").read_text()], "quote it again"


def test_repeated_images_have_keys_and_shards_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(ground, "SHARD", 3)
    monkeypatch.setattr(ground, "_images", lambda: iter([(tiny.picture(number), number) for number in range(5)]))
    ground.write(tmp_path, 9)
    path = tmp_path / "campaign.yaml"
    ground.campaign(path, tmp_path, 9)
    campaign = load(path)
    assert [cell.name for cell in campaign.grid()] == list(CELLS)
    found = [sample for url in shards.paths(campaign.data) for sample in shards.read(shards.inspect(url), range(3))]
    assert [sample.label for sample in found] == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert len({sample.key for sample in found}) == 9 and len({sample.image for sample in found}) == 5
