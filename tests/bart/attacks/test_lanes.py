"""Check lanes: an image's result does not depend on its neighbours, a free lane is refilled at once, a broken image leaves."""

import pytest
import torch
from torch import nn

from bart import Apgd, Ball, Barrage, Break, Classifier, Defended, Eot, Goal, Pgd, Restarts
from bart.attacks import lanes
from bart.attacks.state import State
from tests.support.linear_models import LABEL, NO_TARGET, SIDE, assert_same, behind, images, linear, mirror

BALL = Ball("linf", 8 / 255)
ATTACKS = {
    "pgd": Pgd(BALL, 6, 2 / 255, True, Eot(2)),
    "apgd": Apgd(BALL, 6, True, Eot(2)),
    "restarts": Restarts(Pgd(BALL, 3, 2 / 255, True, Eot(2), momentum=0.9), 2, draws=2),
}


def walked(attack, state, defended, stack, width, first_break=None):
    """Return the states after each step, to the end."""
    while not lanes.over(state, attack):
        state = lanes.step(attack, state, defended, stack, width, first_break)
        yield state


def ended(attack, width, first_break=None, stack=1000):
    state = attack.start(images(), Goal(LABEL, NO_TARGET), mirror())
    states = list(walked(attack, state, behind(linear()[0], 2), stack, width, first_break))
    return states[-1], len(states)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("first_break", [None, Break(2, 2)])
def test_the_number_of_lanes_changes_no_image(name, first_break):
    attack = ATTACKS[name]
    whole, _ = ended(attack, 4, first_break)
    for width in (1, 3):
        some, _ = ended(attack, width, first_break, stack=3)
        left, right = whole.tensors(), some.tensors()
        for field in left:
            torch.testing.assert_close(left[field], right[field], rtol=1e-5, atol=1e-6)


def test_a_run_goes_on_from_any_of_its_states():
    attack = Restarts(Pgd(Ball("linf", 1 / 255), 3, 0.5 / 255, True, Eot(2), momentum=0.9), 2, draws=2)
    right = behind(linear()[0]).classifier(images()).argmax(1)
    state = attack.start(images(), Goal(right, NO_TARGET), mirror())
    states = list(walked(attack, state, behind(linear()[0], 2), 1000, 3, Break(20, 2)))
    assert len(states) > 6
    for at in (1, len(states) // 2):
        back = State.of({k: v.clone() for k, v in states[at].tensors().items()}, "cpu")
        *_, last = walked(attack, back, behind(linear()[0], 2), 1000, 3, Break(20, 2))
        assert_same(last, states[-1])


class Falls(nn.Module):
    """Classify as 1 once the image's mean has grown by an amount of its own, which is known beforehand."""

    def forward(self, x):
        z = x.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(z) + 0.5, z], dim=1)


def test_a_broken_image_leaves_at_once_and_the_next_one_takes_its_lane():
    """Use means of .5 - d and steps of .01 upwards: an image breaks after d / .01 steps. No lane is idle while images wait."""
    needs = torch.tensor([3, 1, 5, 2, 4, 1, 2, 3])
    clean = (0.5 - 0.01 * needs + 0.004)[:, None, None, None].expand(8, 3, SIDE, SIDE).contiguous()
    clean = (clean * 255).round() / 255
    attack = Pgd(Ball("linf", 0.2), 9, 0.01, False, Eot(1, "margin"))
    defended = Defended(Classifier(Falls(), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    goal = Goal(torch.zeros(8, dtype=torch.int64), torch.full((8,), -1))
    state = attack.start(clean, goal, mirror(8))
    busy = []
    for after in walked(attack, state, defended, 1000, 3, Break(1)):
        busy.append(int((after.step.host - state.step.host).sum()))
        state = after
    assert state.left.host.tolist() == needs.tolist() == state.step.host.tolist()
    waiting = 8 - 3
    crowded = busy[: int(needs.sum()) // 3 - waiting // 2]
    assert crowded and all(lane == 3 for lane in crowded), busy
    assert sum(busy) == int(needs.sum()), "an image went on after it was won"
    assert len(busy) <= -(-int(needs.sum()) // 3) + int(needs.max())


def test_an_image_leaves_only_if_every_draw_succeeds():
    """Use a model that errs by chance, p = .5 a draw: with ten draws, almost no image leaves after its first step."""

    class Coin(Defended):
        def logits(self, x, keys, policy=None, order_keys=None, fast=False):
            wrong = keys.device < 0
            return torch.stack([wrong.logical_not().float(), wrong.float()], dim=1) + 0 * x.sum((1, 2, 3))[:, None]

    coin = Coin(None, Barrage(1))
    clean = images(1).repeat(64, 1, 1, 1)
    goal = Goal(torch.zeros(64, dtype=torch.int64), torch.full((64,), -1))
    attack = Pgd(BALL, 1, 2 / 255, False, Eot(1))
    for draws, low, high in ((1, 16, 48), (10, 0, 3)):
        *_, end = walked(attack, attack.start(clean, goal, mirror(64)), coin, 1000, 64, Break(draws))
        assert low <= int((end.left.host > 0).sum()) <= high
        assert end.forward_evals.tolist() == [draws] * 64


def test_a_targeted_image_leaves_when_the_target_is_first():
    clean = torch.full((2, 3, SIDE, SIDE), 102 / 255)
    defended = Defended(Classifier(Falls(), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    attack = Pgd(Ball("linf", 0.2), 15, 0.01, False, Eot(1, "margin"))
    goal = Goal(torch.tensor([0, 1]), torch.tensor([1, 0]))  # the second is won before it begins: seen after its first step
    *_, end = walked(attack, attack.start(clean, goal, mirror(2)), defended, 1000, 2, Break(1))
    assert end.left.host[1] == 1 and end.left.host[0] > 5
