"""The changed attacks of benchmarks/ablations.py: each changes what its name says, and costs no more."""

import itertools
from dataclasses import replace

import pytest
import torch

from bart import Ball, DualAveraging, Eot, Goal, Pgd
from benchmarks.ablations import Changed, SteppedSum, variants
from pipeline.config import attacks
from tests.support.linear_models import LABEL, NO_TARGET, behind, images, linear, mirror, run

BALL, EOT, STEPS = Ball("linf", 8 / 255), Eot(3, "margin", unit=True), 6


def states(attack, steps=STEPS):
    """Return the states after each step, the start first."""
    found = [attack.start(images(), Goal(LABEL, NO_TARGET), mirror())]
    for _ in range(steps):
        found.append(run(attack, found[-1], behind(linear()[0], 2), 1))
    return found


def total(state):
    return state.memory["total"]


def test_nothing_changed_is_dual_averaging():
    ours, truth = (states(kind(BALL, STEPS, True, EOT)) for kind in (Changed, DualAveraging))
    for mine, theirs in zip(ours, truth, strict=True):
        assert torch.equal(mine.x, theirs.x) and torch.equal(total(mine), total(theirs))


def test_the_sum_of_the_second_half_has_its_gradients_alone():
    attack = Changed(BALL, STEPS, True, EOT, from_step=3)
    found, whole = states(attack), states(replace(attack, from_step=0))
    assert torch.equal(total(found[3]), total(whole[3])) and torch.equal(found[3].x, whole[3].x)
    assert torch.allclose(total(found[4]), total(whole[4]) - total(whole[3]), rtol=0, atol=1e-6)
    lengths = total(found[6]).abs().sum((1, 2, 3))
    assert ((lengths > 0.5) & (lengths < 3 + 1e-5)).all(), "three gradients, each of an L1 norm of at most 1"
    assert (total(whole[6]).abs().sum((1, 2, 3)) > lengths + 0.5).all()


@pytest.mark.parametrize(("softness", "corner"), [(0.0, True), (1.0, True), (1.0, False)])
def test_a_ball_that_does_not_harden(softness, corner):
    attack = Changed(BALL, STEPS, True, EOT, hardens=False, softness=softness, corner=corner)
    for state in states(attack)[1:]:
        far = BALL.towards(total(state), state.clean)
        assert torch.allclose(state.x, BALL.towards(total(state), state.clean, softness), rtol=0, atol=1e-6)
        assert torch.equal(state.x, far) == (softness == 0)
        assert torch.equal(attack.result(state), far if corner else state.x)


def test_steps_of_a_size_end_in_the_corner_of_their_sum():
    ours, pgd = SteppedSum(BALL, STEPS, 1 / 255, True, EOT), Pgd(BALL, STEPS, 1 / 255, True, EOT)
    found, truth = states(ours), states(pgd)
    assert all(torch.equal(mine.x, theirs.x) for mine, theirs in zip(found, truth, strict=True))
    for earlier, later in itertools.pairwise(found):
        gradient = total(later) - total(earlier)
        assert (gradient.abs().sum((1, 2, 3)) <= 1 + 1e-5).all(), "a mean of gradients of an L1 norm of 1"
        moved = BALL.step(earlier.x, gradient, 1 / 255, earlier.clean)
        assert ((moved - later.x).abs() < 1e-5).float().mean() > 0.99, "but where the gradient is almost 0"
    assert torch.equal(ours.result(found[-1]), BALL.towards(total(found[-1]), found[-1].clean))


@pytest.mark.parametrize("budget", [50, 200])
def test_every_variant_is_another_attack_of_the_same_budget(budget):
    whole = attacks.Standard(eps=8 / 255, budget=budget).build(True)
    found = variants(BALL, budget, whole)
    assert len({repr(attack) for attack in (whole, *found.values())}) == len(found) + 1
    for name, attack in found.items():
        assert budget - 20 <= attack.cost.gradients <= budget, name
    assert ("no check after half of the steps" in found) == (budget >= 100), "small budgets have none"
