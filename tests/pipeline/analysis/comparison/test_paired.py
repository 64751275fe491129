"""Paired differences against SciPy, simulation and by hand."""

import numpy as np
import pytest
from scipy import stats

from pipeline.analysis.comparison import details
from pipeline.analysis.comparison.paired import of_shares


def binary(both, one, other, neither):
    """Shares of a 2 x 2 of images."""
    fields = [(1, 1)] * both + [(1, 0)] * one + [(0, 1)] * other + [(0, 0)] * neither
    return np.array(fields, float).T


@pytest.mark.parametrize("table", [(30, 12, 3, 5), (0, 1, 9, 0), (4, 0, 0, 4), (100, 40, 38, 7)])
def test_right_or_wrong_is_mcnemars_exact_test(table):
    both, one, other, neither = table
    found = of_shares(*binary(*table))
    assert found.test == "McNemar" and found.table == ((both, one), (other, neither))
    expected = 2 * stats.binom.cdf(min(one, other), one + other, 0.5) if one + other else 1
    assert found.p_value == pytest.approx(min(1, expected))
    assert found.difference == pytest.approx((one - other) / sum(table))
    assert found.low <= found.difference <= found.high


def test_shares_are_compared_by_the_sign_test_and_counted_by_halves():
    found = of_shares([0.75, 0.5, 0.25, 1.0, 0.6], [0.25, 0.75, 0.25, 0.75, 0.4])
    assert (found.test, found.first_only, found.second_only) == ("sign", 3, 1)
    assert found.p_value == pytest.approx(stats.binomtest(3, 4).pvalue)
    assert found.table == ((1, 2), (1, 1)), "one half is not more than half"


@pytest.mark.parametrize("seed", range(4))
def test_sides_may_be_exchanged(seed):
    a, b = np.random.default_rng(seed).binomial(4, [[0.6], [0.4]], (2, 50)) / 4
    one, two = of_shares(a, b), of_shares(b, a)
    assert (one.difference, one.low, one.high) == pytest.approx((-two.difference, -two.high, -two.low), abs=1e-9)
    assert (one.first_only, one.second_only, one.p_value) == (two.second_only, two.first_only, two.p_value)
    assert np.array_equal(one.table, np.transpose(two.table))
    assert (one.first, one.second) == pytest.approx((two.second, two.first))


def test_no_images_are_no_comparison():
    assert of_shares([], []) is None


def test_the_interval_covers_a_known_difference():
    """Images of different difficulty, the second right in 0.8 of what the first is: the truth, 0.1, is in as many of 300
    intervals as 94 % coverage gives but for one time in 200."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        hard = random.beta(2, 2, 60)
        a, b = random.binomial(5, hard) / 5, random.binomial(5, 0.8 * hard) / 5
        found = of_shares(a, b)
        covered += found.low <= 0.1 <= found.high
    assert stats.binom.cdf(covered, 300, 0.94) > 0.005, covered


def test_groups_of_figures_are_corrected_together():
    rows = [{"part": name} | details.figures(*binary(5, one, other, 5)) for name, one, other in (("a", 3, 2), ("b", 20, 1))]
    frame = details.corrected(rows, ["part"], "part")
    assert frame["part"].tolist() == ["b", "a"] and frame["p_holm"].tolist() == [2 * frame["p_value"][0], frame["p_value"][1]]
