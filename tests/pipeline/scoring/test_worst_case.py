"""The bounds of the accuracy under the worst attack, against every choice of draws and by simulation."""

import itertools

import numpy as np
import pytest

from pipeline.scoring.intervals import rate
from pipeline.scoring.worst_case import judged_apart


def by_hand(right, draws):
    """Return the mean over every choice of one draw of each attack: the others name the lowest attack, ties both ways."""
    total, ways = 0.0, 0
    for left_out in itertools.product(*(range(n) for n in draws)):
        says = [int(place < c) for place, c in zip(left_out, right, strict=True)]
        others = [(c - said) / (n - 1) if n > 1 else c for c, n, said in zip(right, draws, says, strict=True)]
        lowest = [attack for attack, share in enumerate(others) if share == min(others)]
        total, ways = total + (says[lowest[0]] + says[lowest[-1]]) / 2, ways + 1
    return total / ways


@pytest.mark.parametrize("draws", [(4, 4), (5, 3), (3, 3, 3), (4, 1), (2, 4, 3)])
def test_the_attack_is_chosen_by_the_other_draws(draws):
    counts = np.array(list(itertools.product(*(range(n + 1) for n in draws))))
    found = judged_apart(counts / draws, np.broadcast_to(draws, counts.shape))
    assert found == pytest.approx([by_hand(right, draws) for right in counts])


def test_one_attack_or_a_model_that_is_not_random_is_exact():
    shares = np.array([[0.0], [0.35], [1.0]])
    assert judged_apart(shares, np.full((3, 1), 20)) == pytest.approx(shares[:, 0])
    right = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    assert judged_apart(right, np.ones((3, 2))).tolist() == [0, 1, 0]


@pytest.mark.parametrize("like", [1.0, 0.5, 0.0])
def test_the_truth_is_between_the_least_share_and_the_one_judged_apart(like):
    random = np.random.default_rng(7)
    images, attacks = random.beta(0.5, 0.7, (60_000, 1)), random.beta(0.5, 0.7, (60_000, 4))
    chances = like * images + (1 - like) * attacks
    shares = random.binomial(10, chances) / 10
    least, truth, apart = shares.min(1).mean(), chances.min(1).mean(), judged_apart(shares, np.full(shares.shape, 10)).mean()
    assert least + 0.005 < truth < apart + 0.004
    assert (apart == pytest.approx(truth, abs=0.006)) == (like == 1), "of equal attacks any choice is right"
    assert rate(shares[:500].min(1)).low < truth < rate(judged_apart(shares, np.full(shares.shape, 10))[:500]).high
