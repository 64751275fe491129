"""Intervals of means and of paired differences, against SciPy and by hand."""

import numpy as np
import pytest

from pipeline.scoring.intervals import Sample, half_width, paired_difference

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


def test_a_sample_of_counts_is_that_of_each_image():
    random = np.random.default_rng(0)
    shares, images = random.integers(0, 5, 30) / 4, random.integers(1, 9, 30)
    counted, one_by_one = Sample.of(shares, images), Sample.of(np.repeat(shares, images))
    assert counted.shares.tolist() == one_by_one.shares.tolist() and counted.counts.tolist() == one_by_one.counts.tolist()
    assert Sample.of([]).images == 0 == Sample.of([], []).images
