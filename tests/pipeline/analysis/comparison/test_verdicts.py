"""The verdict of `--fail-if-worse`: properties that hold for every difference."""

import math

import numpy as np
import pytest

from pipeline.analysis.comparison import Verdict, verdict, verdicts
from pipeline.analysis.comparison.paired import of_shares
from pipeline.errors import BadInput

ORDER = [Verdict.NOT_WORSE, Verdict.UNDECIDED, Verdict.WORSE]


def samples():
    random = np.random.default_rng(0)
    for first, second in random.random((20, 2)):
        for images in (5, 60, 400):
            yield of_shares(*(random.binomial(4, p, images) / 4 for p in (first, second)))


SAMPLES = list(samples())


@pytest.mark.parametrize("attack", [False, True])
def test_the_interval_decides(attack):
    seen = set()
    for found in SAMPLES:
        for points in (0, 2, 10, 40):
            said = verdict(found, points, attack)
            ends = (-found.high, -found.low) if attack else (found.low, found.high)
            assert (said is Verdict.WORSE) == all(100 * end > points for end in ends)
            assert (said is Verdict.NOT_WORSE) == all(100 * end <= points for end in ends)
            seen.add(said)
    assert seen == set(Verdict)


def test_a_wider_margin_never_makes_it_worse():
    for found in SAMPLES:
        said = [ORDER.index(verdict(found, points)) for points in range(0, 101, 5)]
        assert said == sorted(said, reverse=True) and said[-1] == 0, "nothing is worse by more than 100 points"


def test_a_worse_defense_is_a_better_attack_the_other_way_round():
    for found in SAMPLES:
        assert not (verdict(found, 0) is Verdict.WORSE and verdict(found, 0, attack=True) is not Verdict.NOT_WORSE)
        assert verdicts.loss(found) == tuple(-end for end in reversed_ends(verdicts.loss(found, attack=True)))


def reversed_ends(found):
    return found[0], found[2], found[1]


def test_sides_exchanged_are_judged_as_the_other_kind():
    random = np.random.default_rng(3)
    a, b = random.random((2, 80)).round()
    for points in (0, 5, 20):
        assert verdict(of_shares(a, b), points) is verdict(of_shares(b, a), points, attack=True)


def test_the_same_on_both_sides_is_not_worse_by_a_margin():
    found = of_shares(np.ones(400), np.ones(400))
    assert verdict(found, 2) is Verdict.NOT_WORSE and verdict(found, 0) is Verdict.UNDECIDED
    assert "not worse by more than 2 points as a defense: by 0.0 [" in verdicts.said(found, 2)


@pytest.mark.parametrize("points", [-1, 101, math.nan, math.inf])
def test_a_margin_that_is_none_is_refused(points):
    with pytest.raises(BadInput, match=r"points: expected a margin of 0 to 100 percentage points"):
        verdict(SAMPLES[0], points)
