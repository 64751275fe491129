import pytest
import torch

from bart import Ball, Goal
from bart.attacks.noise import Noise
from tests.support.contracts.attacks import MIXED, assert_contract, linear_optimum
from tests.support.linear_models import NO_TARGET, behind, images, linear, mirror, run


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_contract(norm):
    assert_contract(Noise(Ball(norm, 8 / 255 if norm == "linf" else 0.5), 6, 3))


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("ball", [Ball("linf", 8 / 255), Ball("l2", 0.5)])
def test_the_best_of_many_points_is_better_than_one_and_far_from_the_optimum(ball, targeted):
    """Check the best of 200 points, 2 to 4 sigma out: a random point's gain on a linear model is about normal."""
    one, many = (linear_optimum(Noise(ball, steps, 1), targeted) for steps in (1, 200))
    assert (many > 0.05).all() and (many < 0.6).all() and (many >= one).all()


def test_points_are_all_over_the_ball_and_never_the_same():
    attack, points = Noise(Ball("linf", 0.1), 4, 1), []
    state = attack.start(images() * 0.5 + 0.25, MIXED, mirror())
    ball = attack.ball

    class Spy(Ball):
        def start(self, clean, seeds):
            points.append(ball.start(clean, seeds))
            return points[-1]

    run(Noise(Spy("linf", 0.1), 4, 1), state, behind(linear()[0], 2), 4)
    deltas = torch.stack(points) - state.clean
    assert (deltas.abs() <= 0.1 + 1e-6).all() and (deltas.abs().amax((0, 2, 3, 4)) > 0.095).all()
    assert (deltas.mean((2, 3, 4)).abs() < 0.03).all()
    assert len({point.sum().item() for point in points}) == 4


def test_a_model_that_errs_by_chance_is_not_beaten_by_many_trials():
    """Score by pure chance: the best of many is kept, but the verdict is by fresh draws (see test_lanes)."""
    attack = Noise(Ball("linf", 0.1), 5, 2)
    state = run(attack, attack.start(images(), Goal(NO_TARGET + 1, NO_TARGET), mirror()), behind(linear()[0], 2), 5)
    assert state.grad_evals.tolist() == [0] * 4 and state.forward_evals.tolist() == [10] * 4
