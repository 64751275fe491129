import pytest
import torch

from bart import Ball, Goal
from bart.attacks.spsa import Spsa
from bart.gradient import gradient
from tests.bart.attacks.checks import GOAL, MIXED, assert_contract, linear_optimum
from tests.bart.attacks.test_pgd import behind, images, linear, mirror


@pytest.mark.parametrize(("norm", "eps", "size"), [("linf", 8 / 255, 2 / 255), ("l2", 0.5, 0.1)])
def test_the_contract(norm, eps, size):
    assert_contract(Spsa(Ball(norm, eps), 5, size, 4, 2))


@pytest.mark.parametrize("targeted", [False, True])
def test_it_comes_close_to_the_optimum_of_a_linear_model(targeted):
    assert (linear_optimum(Spsa(Ball("linf", 8 / 255), 30, 1 / 255, 64), targeted) > 0.85).all()


def test_the_slope_is_that_of_the_margin_on_average():
    """Many pairs: the estimate's component along the true gradient is the gradient's own length, within its noise."""
    from bart import Eot

    defended, x = behind(linear()[0]), images() * 0.5 + 0.25
    attack = Spsa(Ball("linf", 8 / 255), pairs=600, delta=0.001)
    for goal in (GOAL, MIXED):
        state = attack.start(x, goal, mirror())
        found = attack._slope(state, defended, 1000).flatten(1)
        truth = gradient(defended, x, goal, mirror(), Eot(1, "margin"), 1000)[0].flatten(1)
        along = (found * truth).sum(1) / truth.square().sum(1)
        assert (along - 1).abs().max() < 0.25, along.tolist()
        assert torch.cosine_similarity(found, truth).min() > 0.8


def test_both_points_of_a_pair_meet_the_same_draws():
    """A defense that is random and a classifier that is constant: every difference is zero, so nothing moves."""
    model, _ = linear()
    model[1].weight.data.zero_()
    attack = Spsa(Ball("linf", 8 / 255), pairs=5, draws=2)
    state = attack.start(images(), Goal(*GOAL), mirror())
    assert attack._slope(state, behind(model, 2), 100).abs().max() == 0
    after = attack.step(state, behind(model, 2), 100)
    assert after.zero.tolist() == [1] * 4 and torch.equal(after.x, state.x)
