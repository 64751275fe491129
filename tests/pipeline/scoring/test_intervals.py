"""Intervals of means and of paired differences, against SciPy and by hand."""

from fractions import Fraction

import numpy as np
import pytest

from pipeline.scoring.intervals import Difference, Rate, Sample, half_width, mean_difference, paired_difference

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("n", [2, 5, 80])
def test_half_the_interval_of_a_mean_is_the_normal_one(n):
    values = np.random.default_rng(n).beta(2, 3, n)
    low, high = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2, rel=1e-12)


def test_one_image_or_equal_ones_have_no_width():
    assert half_width([0.3]) == 0 == half_width([0.5] * 7)


@pytest.mark.parametrize("seed", range(3))
def test_a_paired_difference_has_the_interval_of_its_differences(seed):
    a, b = np.random.default_rng(seed).random((2, 20))
    mean, half = paired_difference(a, b)
    assert mean == pytest.approx(a.mean() - b.mean())
    statistic = stats.ttest_rel(a, b).statistic
    assert mean / half == pytest.approx(statistic / stats.norm.ppf(0.975), rel=1e-12)
    assert paired_difference(b, a) == pytest.approx((-mean, half))


def test_a_mean_is_the_same_wherever_its_values_lie_in_memory_and_in_any_order():
    """Sums of BLAS and NumPy differ in the last bit by alignment, by processor and by order: 63.25 % was 63.2 or 63.3."""
    random = np.random.default_rng(5)
    found, differences = set(), set()
    for n in (20, 21, 37):
        shares, counts = np.sort(random.random(n)), random.integers(1, 50, n).astype(float)
        exact = float(sum(Fraction(a * b) for a, b in zip(shares, counts, strict=True)))
        for offset in range(8):
            room = np.empty((2, n + 8))
            at = slice(offset, offset + n)
            room[0, at], room[1, at] = shares, counts
            found.add((n, Sample(room[0, at], room[1, at]).rate.value - exact / counts.sum()))
            differences.add((n, mean_difference(random.permutation(shares)).value))
    assert found == {(20, 0.0), (21, 0.0), (37, 0.0)} and len(differences) == 3


def test_a_sample_of_counts_is_that_of_each_image():
    random = np.random.default_rng(0)
    shares, images = random.integers(0, 5, 30) / 4, random.integers(1, 9, 30)
    counted, one_by_one = Sample.of(shares, images), Sample.of(np.repeat(shares, images))
    assert counted.shares.tolist() == one_by_one.shares.tolist() and counted.counts.tolist() == one_by_one.counts.tolist()
    assert Sample.of([]).images == 0 == Sample.of([], []).images


def test_the_difference_of_a_sample_of_counts_is_that_of_its_images():
    """Counts of shares (d + 1) / 2 give the mean of d, and the interval of the differences one by one."""
    differences = np.repeat([-1.0, -0.25, 0.5], [2, 5, 4])
    counted = Sample.of([0.0, 0.375, 0.75], [2, 5, 4]).difference
    assert counted.value == pytest.approx(differences.mean()) and counted.images == 11
    one_by_one = mean_difference(differences)
    assert (counted.low, counted.high) == pytest.approx((one_by_one.low, one_by_one.high), abs=1e-9)


def test_rates_and_differences_are_printed_in_points():
    assert str(Rate(0.1234, 0.05, 0.2, 7)) == "12.3 [5.0, 20.0]" and Rate(0.1234, 0.05, 0.2, 7).brief == "12.3\n5 to 20"
    assert str(Difference(-0.034, -0.046, 0.023, 7)) == "-3.4 [-4.6, +2.3]"
