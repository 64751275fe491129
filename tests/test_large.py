"""The exponents of what stages take, on curves that are known; the stages themselves, on a few images."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.large import exponents
from benchmarks.large.exponents import Exponents

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
