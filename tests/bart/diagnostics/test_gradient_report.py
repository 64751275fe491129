from dataclasses import replace

import pytest
import torch
from torch import nn

from bart import Ball, Barrage, Classifier, Defended, Eot, Goal, Pgd, judge
from bart.defenses import RandomModule
from bart.diagnostics import PlantedWeakness
from bart.diagnostics.gradient_report import gradient_report
from bart.keyed import Keyed
from tests.support.linear_models import LABEL, NO_TARGET, SIDE, behind, images, linear, mirror, run


def test_an_undefended_models_draws_agree_in_everything():
    report = gradient_report(behind(linear()[0]), images(), Goal(LABEL, NO_TARGET), mirror(), 5, Eot(), 7)
    assert report.spread.tolist() == pytest.approx([1] * 4) and report.cosine.tolist() == pytest.approx([1] * 4, abs=1e-5)
    assert report.agreement.tolist() == [1] * 4
    assert report.zero.tolist() == report.nonfinite.tolist() == [0] * 4


def test_independent_draws_have_no_cosine():
    """Use gradients of independent normal noise: cosines near 0, a spread near 1, signs that agree with the mean by chance."""

    class Random(Defended):
        def logits(self, x, keys, policy=None, order_keys=None, fast=False):
            from bart import rng

            slope = rng.normal_field(keys.device, tuple(x.shape[1:]))
            z = (x * slope).flatten(1).sum(1)
            return torch.stack([torch.zeros_like(z), z], dim=1)

    goal = Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET)
    report = gradient_report(Random(None, Barrage(1)), images(), goal, mirror(), 40, Eot(loss="margin"), 1000)
    assert report.cosine.abs().max() < 0.03 and report.spread.max() < 1.5
    assert (report.norm - (3 * SIDE * SIDE) ** 0.5).abs().max() < 2
    assert report.agreement.min() > 0.5 and report.agreement.max() < 0.65


def test_the_spread_is_the_largest_norm_over_the_median():
    class Scaled(Defended):
        """Return logits whose gradient has the norm 1, 2 or 8, by the draw's place in its image."""

        def logits(self, x, keys, policy=None, order_keys=None, fast=False):
            slope = torch.tensor([1.0, 2.0, 8.0])[torch.arange(len(x)) % 3] / (3 * SIDE * SIDE) ** 0.5
            z = x.flatten(1).sum(1) * slope
            return torch.stack([torch.zeros_like(z), z], dim=1)

    goal = Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET)
    report = gradient_report(Scaled(None, Barrage(1)), images(), goal, mirror(), 3, Eot(loss="margin"), 1000)
    assert report.norm.tolist() == pytest.approx([2] * 4, rel=1e-5)
    assert report.spread.tolist() == pytest.approx([4] * 4, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-38, 1e30])
def test_only_the_norm_depends_on_how_long_gradients_are(scale):
    """The directions of two draws are orthogonal, so their cosine is 0; one gradient is three times as long as the other."""

    class Short(Defended):
        def logits(self, x, keys, policy=None, order_keys=None, fast=False):
            first = torch.arange(len(x)) % 2 == 0
            z = torch.where(first, x[:, 0].flatten(1).sum(1), 3 * x[:, 1].flatten(1).sum(1)) * scale
            return torch.stack([torch.zeros_like(z), z], dim=1)

    goal = Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET)
    report = gradient_report(Short(None, Barrage(1)), images(), goal, mirror(), 2, Eot(loss="margin"), 1000)
    assert (report.norm / scale).tolist() == pytest.approx([SIDE] * 4, rel=1e-4)
    assert report.spread.tolist() == pytest.approx([3] * 4, rel=1e-4) and report.cosine.abs().max() < 1e-6
    assert report.zero.tolist() == [0] * 4


def test_zero_and_broken_gradients_are_counted():
    class Half(Defended):
        """Return logits whose gradient is zero for negative keys and NaN for some others."""

        def logits(self, x, keys, policy=None, order_keys=None, fast=False):
            z = x.flatten(1).sum(1) * torch.where(keys.device % 4 == 1, torch.nan, (keys.device > 0).float())
            return torch.stack([torch.zeros_like(z), z], dim=1)

    goal = Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET)
    report = gradient_report(Half(None, Barrage(1)), images(), goal, mirror(), 200, Eot(loss="margin"), 1000)
    assert (report.zero > 0.3).all() and (report.zero < 0.45).all()
    assert (report.nonfinite > 0.15).all() and (report.nonfinite < 0.35).all()
    assert report.cosine.isfinite().all() and report.norm.isfinite().all()


@pytest.mark.parametrize("label", [0, 3])
def test_a_planted_weakness_is_there_and_is_found(label):
    """Check that the example at eps along the chequerboard is wrong for every draw, and that the attack finds one as good."""
    model, _ = linear()
    base = behind(model, 2)
    planted = PlantedWeakness(base.classifier, base.defense)
    clean, eps = (images() * 0.5 + 0.25), 8 / 255
    clean = (clean * 255).round() / 255
    row = torch.arange(SIDE)
    pattern = ((row[:, None] + row) % 2 * 2 - 1).float()
    sign = -1 if label == 0 else 1
    example = clean + sign * eps * pattern
    goal = Goal(torch.full((4,), label), NO_TARGET)
    verdict = judge(planted, (example * 255).round().to(torch.uint8), mirror(), 20, 100)
    assert (verdict.top5[:, :, 0] != label).all(), "not planted"
    attack = Pgd(Ball("linf", eps), 10, 2 / 255, True, Eot(3))
    state = run(attack, attack.start(clean, goal, mirror()), planted, 10)
    found = judge(planted, attack.ball.store(attack.result(state), clean), mirror(), 20, 100)
    assert (found.top5[:, :, 0] != label).all()


def test_a_planted_model_is_otherwise_the_model():
    flat = torch.full((2, 3, SIDE, SIDE), 0.5)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 5)), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE))
    base, planted = Defended(classifier, Barrage(0)), PlantedWeakness(classifier, Barrage(0))
    torch.testing.assert_close(planted.logits(flat, mirror(2)), base.logits(flat, mirror(2)))


@pytest.mark.parametrize(("straight_through", "share"), [(True, 0.0), (False, 1.0)])
def test_black_and_white_pixels_behind_a_clamp_are_counted(straight_through, share):
    """A linear model moves every pixel; torch's clamp holds those at 0 and 1, unless it is made straight-through."""
    module = nn.Module()
    module.forward = lambda x: (x + 0 * torch.randn_like(x)).clamp(0, 1)
    defense = RandomModule(lambda: module, Keyed(straight_through))
    x = images().clone()
    x[:, :, :2], x[:, :, 2:4] = 0.0, 1.0
    report = gradient_report(
        replace(behind(linear()[0]), defense=defense), x, Goal(LABEL, NO_TARGET), mirror(), 3, Eot(loss="margin"), 7
    )
    assert report.stuck.tolist() == [share] * 4
