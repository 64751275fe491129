"""How often a run of checks fails by the luck of its images and draws, and what a comparison is worth."""

import math

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import ttest_1samp

from benchmarks.deep import false_alarms
from pipeline.campaigns.check.findings import _doubt
from pipeline.campaigns.check.judgement import (
    BY_LUCK,
    Judged,
    at_chance,
    by_chance,
    defeated,
    lower,
    never_rises,
    not_beaten_by,
    passed,
)


@pytest.mark.parametrize("images", [5, 8, 30])
def test_the_chance_of_a_mean_is_that_of_student(images):
    values = default_rng(images).normal(0.3, 1, images)
    values += 0.1 - min(0, values.mean())
    assert by_chance(values) == pytest.approx(ttest_1samp(values, 0, alternative="greater").pvalue, rel=1e-12)
    assert by_chance(-np.abs(values)) == 1


def test_equal_differences_may_be_luck_too():
    """Two fair coins differ in one direction with a chance of 1/4, and n times so with 4^-n: no smaller chance is claimed."""
    assert [by_chance([1.0] * n) for n in (1, 2, 8)] == [1, 1 / 16, 4.0**-8]
    assert by_chance([]) == 1 == by_chance([0.0] * 9)


def test_a_check_is_judged_among_all_of_its_run():
    """Holm: the least chance counts as often as there are comparisons, the next one time less often, up to one that passes."""
    run = [Judged(chances=(c,)) for c in (0.011, 0.03, 0.012, 0.04)]
    assert passed(run) == [False, True, False, True]  # limits: .05 / 4, / 3, / 2
    assert passed(run[:1]) == [False] and passed([run[1], run[3]]) == [True, True]
    assert passed([Judged(chances=(0.024,)), run[3]]) == [False, False]
    assert passed([Judged(None), Judged(False), Judged(), Judged(chances=(0.9, 0.001))]) == [None, False, True, False]
    assert passed([]) == []


def test_what_must_fall_takes_no_part_in_what_is_luck():
    some = {"a": {"1": 0.5}}
    assert defeated("a")(some) == Judged(False) and passed([defeated("a")(some), Judged(chances=(0.05,))]) == [False, False]


def test_a_little_less_is_no_less():
    base = {str(i): 0.5 for i in range(20)}
    assert lower({key: 0.46 for key in base}, base) == 1 and lower({key: 0.44 for key in base}, base) == 0.25**20
    assert lower({"other": 0.0}, base) == 1, "no image of both"
    assert not_beaten_by("a", "b")({"a": base, "b": base, "base": base}).chances == (1, 1)
    assert len(never_rises(("a", "b", "base"))({"a": base, "b": base, "base": base}).chances) == 2
    guess = at_chance("a", 10)
    assert guess({"a": {str(i): 0.1 for i in range(9)}}).chances == (1,) and guess({"a": base}).chances == (0.25**20,)


@pytest.mark.parametrize("spread", list(false_alarms.SPREADS))
def test_a_run_of_a_sound_attack_seldom_fails(spread):
    """Of 300 runs on 8 images, fifteen comparisons each, all of attacks that are alike: 5 %, and 3.5 standard errors more."""
    old, new = false_alarms.failing(*false_alarms.SPREADS[spread], 8, 0.0, 300)
    assert new <= BY_LUCK + 3.5 * math.sqrt(BY_LUCK * (1 - BY_LUCK) / 300) and old > 0.2


def test_what_is_much_stronger_is_found():
    chances, draws = false_alarms.SPREADS["images of all kinds, 20 draws"]
    assert false_alarms.failing(chances, draws, 20, 0.4, 100)[1] > 0.9


def test_a_check_that_passes_among_others_says_that_it_would_not_alone():
    assert _doubt(Judged(chances=(0.9, 0.02)), True) == "; alone, luck in 2.0 % of runs: try more --images"
    assert "" == _doubt(Judged(chances=(0.02,)), False) == _doubt(Judged(chances=(0.06,)), True) == _doubt(Judged(None), None)
