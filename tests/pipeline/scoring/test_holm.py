"""The correction of p-values for their number, against its definition and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.scoring.holm import holm


def test_holm_is_the_closed_test_of_bonferroni():
    """A hypothesis is refused if every set of hypotheses that holds it is, by Bonferroni: from the definition."""
    random = np.random.default_rng(1)
    for n in (1, 2, 5, 6):
        p = random.random(n) ** 3
        sets = [s for size in range(1, n + 1) for s in itertools.combinations(range(n), size)]
        closed = [max(min(1, len(s) * p[list(s)].min()) for s in sets if i in s) for i in range(n)]
        assert holm(p) == pytest.approx(closed)
    assert len(holm([])) == 0


def test_holm_keeps_false_alarms_rare():
    """Of 20 true null hypotheses, any is refused in at most 5 % of 2,000 families."""
    p = np.random.default_rng(2).random((2000, 20))
    alarms = sum(holm(row).min() < 0.05 for row in p)
    assert stats.binom.sf(alarms - 1, 2000, 0.05) > 0.005
    assert alarms > 50, "Bonferroni's bound is nearly reached"
