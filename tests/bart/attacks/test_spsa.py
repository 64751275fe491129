import numpy as np
import pytest
import torch

from bart import Ball, Goal
from bart.attacks.spsa import Spsa
from bart.gradient import gradient
from tests.support.contracts.attacks import GOAL, MIXED, assert_contract, linear_optimum
from tests.support.linear_models import behind, images, linear, mirror


@pytest.mark.parametrize(("norm", "eps", "size"), [("linf", 8 / 255, 2 / 255), ("l2", 0.5, 0.1)])
def test_the_contract(norm, eps, size):
    assert_contract(Spsa(Ball(norm, eps), 5, size, 4, 2))


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("ball", "size", "reached"), [(Ball("linf", 8 / 255), 1 / 255, 0.85), (Ball("l2", 0.5), 0.1, 0.7)])
def test_it_comes_close_to_the_optimum_of_a_linear_model(ball, size, reached, targeted):
    """Expect less in L2, because Adam scales large and small slopes alike."""
    gain = linear_optimum(Spsa(ball, 30, size, 64), targeted)
    assert (gain > reached).all() and (gain < 1 + 1e-5).all(), gain.tolist()


def test_steps_are_adams():
    """Compare with Kingma and Ba, ICLR 2015, algorithm 1, in NumPy: moments of .9 and .999 without bias; an L2 step."""
    defended, attack = behind(linear()[0]), Spsa(Ball("l2", 0.5), 6, 0.1, 4)
    state = attack.start(images() * 0.5 + 0.25, GOAL, mirror())
    clean, x = state.clean.double().numpy(), state.x.double().numpy()
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, 7):
        slope = attack._slope(state, defended, 1000).double().numpy()
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        step = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        state = attack.step(state, defended, 1000)
        for i in range(4):
            delta = x[i] + 0.1 * step[i] / np.linalg.norm(step[i]) - clean[i]
            x[i] = np.clip(clean[i] + delta * min(1, 0.5 / np.linalg.norm(delta)), 0, 1)
        np.testing.assert_allclose(state.x.numpy(), x, rtol=0, atol=1e-5)
        np.testing.assert_allclose(state.memory["mean"] / (1 - 0.9**t), mean / (1 - 0.9**t), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(state.memory["square"], square, rtol=1e-3, atol=1e-9)


def test_the_slope_is_that_of_the_margin_on_average():
    """Use many pairs: the estimate's component along the true gradient has the gradient's own length, within its noise."""
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
    """Use a random defense and a constant classifier: every difference is zero, so nothing moves."""
    model, _ = linear()
    model[1].weight.data.zero_()
    attack = Spsa(Ball("linf", 8 / 255), pairs=5, draws=2)
    state = attack.start(images(), Goal(*GOAL), mirror())
    assert attack._slope(state, behind(model, 2), 100).abs().max() == 0
    after = attack.step(state, behind(model, 2), 100)
    assert after.zero.tolist() == [1] * 4 and torch.equal(after.x, state.x)
