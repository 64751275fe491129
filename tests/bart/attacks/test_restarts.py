import pytest
import torch
from torch import nn

from bart import Ball, Barrage, Classifier, Defended, Eot, Goal, Pgd, Restarts, Transfer, fgsm
from tests.support.contracts.attacks import assert_contract, linear_optimum
from tests.support.linear_models import LABEL, NO_TARGET, SIDE, behind, images, linear, mirror, run


def restarts(count=3, steps=4, **settings):
    return Restarts(Pgd(Ball("linf", 8 / 255), steps, 2 / 255, True, Eot(3), **settings), count, draws=5)


def test_the_contract():
    assert_contract(restarts(momentum=0.5))
    assert_contract(Transfer(Pgd(Ball("linf", 8 / 255), 5, 2 / 255, True, Eot(1))))


@pytest.mark.parametrize("targeted", [False, True])
def test_they_reach_the_optimum_of_a_linear_model(targeted):
    l2 = Pgd(Ball("l2", 0.5), 8, 0.1, False, Eot(1, "margin"))
    linf = Pgd(Ball("linf", 8 / 255), 8, 2 / 255, False, Eot(1), momentum=0.9)
    for attack in (
        restarts(steps=12), Restarts(l2, 2), Transfer(l2), Transfer(linf), fgsm(l2.ball, Eot(1)), fgsm(linf.ball, Eot(1))
    ):  # fmt: skip
        assert (linear_optimum(attack, targeted) > 1 - 1e-4).all(), attack


class Trap(nn.Module):
    """Classify as 1 if the mean pixel is above half of the ball; the gradient leads downwards below a quarter of it."""

    def __init__(self, clean):
        super().__init__()
        self.register_buffer("clean", clean)

    def forward(self, x):
        z = (x - self.clean[: len(x)]).mean((1, 2, 3)) if len(x) == len(self.clean) else x.mean((1, 2, 3))
        z = torch.where(z > 0, 10 * z, -3 * z)
        return torch.stack([torch.zeros_like(z), z], dim=1)


def test_each_image_keeps_its_best_run():
    """Use a loss with a good and a bad hill: a start leads to either by chance, the best of many to the good one."""
    clean = images() * 0.2 + 0.4
    defended = Defended(Classifier(Trap(clean), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    goal = Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET)
    one = Pgd(Ball("linf", 0.1), 10, 0.02, True, Eot(1, "margin"))
    ends = []
    for seed in range(3):
        state = run(one, one.start(clean, goal, mirror(seed=seed)), defended, 10)
        ends.append((one.result(state) - clean).mean((1, 2, 3)))
    assert (torch.stack(ends) < -0.05).any() and (torch.stack(ends) > 0.05).any(), "no trap"
    many = Restarts(one, 12, draws=1)
    state = run(many, many.start(clean, goal, mirror()), defended, many.steps)
    assert ((many.result(state) - clean).mean((1, 2, 3)) > 0.05).all()


def test_every_run_starts_elsewhere_and_draws_afresh():
    attack, defended = restarts(), behind(linear()[0], 2)
    state = attack.start(images(), Goal(LABEL, NO_TARGET), mirror())
    starts, seen, judged = [state.x], [], []
    keys = defended.keys

    class Spy:
        classifier, defense, networks, frozen = defended.classifier, defended.defense, defended.networks, False

        def logits(self, x, *arguments, **names):
            if not torch.is_grad_enabled():  # an example is chosen as it would be stored
                torch.testing.assert_close(255 * x, (255 * x).round(), rtol=0, atol=1e-3)
                judged.append(len(x))
            return defended.logits(x, *arguments, **names)

        def keys(self, images, purpose, step=None):
            seen.append((purpose, *step.host.tolist()))
            return keys(images, purpose, step)

    for step in range(attack.steps):
        state = attack.step(state, Spy(), 1000)
        if (step + 1) % 4 == 0:
            starts.append(state.x)
    assert len({start.sum().item() for start in starts}) == 4
    assert len(set(seen)) == len(seen) == attack.steps + 3
    assert {purpose for purpose, *_ in seen} == {"step", "restart"}, "draws that judge, or others, chose the example"
    assert judged == [4 * 5] * 3


def test_transfer_never_meets_the_defense():
    class Refuses:
        classifier, defense = behind(linear()[0]).classifier, Barrage(1)

        def logits(self, *arguments, **names):
            raise AssertionError("the defense was asked")

    attack = Transfer(Pgd(Ball("linf", 8 / 255), 2, 2 / 255, True, Eot(1)))
    run(attack, attack.start(images(), Goal(LABEL, NO_TARGET), mirror()), Refuses(), 2)


def test_a_frozen_defense_is_one_function_in_attack_and_verdict():
    model, _ = linear()
    frozen = Defended(behind(model, 2).classifier, behind(model, 2).defense, frozen=True)
    step, verdict = frozen.keys(mirror(), "step", mirror(seed=3)), frozen.keys(mirror(), "evaluation")
    assert torch.equal(step.host, verdict.host) and len(set(step.host.tolist())) == 4
    fresh = behind(model, 2)
    assert not torch.equal(fresh.keys(mirror(), "step").host, fresh.keys(mirror(), "evaluation").host)
