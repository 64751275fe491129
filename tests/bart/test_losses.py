import math

import pytest
import torch

from bart.losses import LOSSES, cross_entropy, dlr_targeted, log_odds, margin

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 4 * torch.randn(20, 7, generator=GENERATOR, dtype=torch.double)
LABEL = torch.randint(7, (20,), generator=GENERATOR)
TARGET = (LABEL + torch.randint(1, 7, (20,), generator=GENERATOR)) % 7


def written_cross_entropy(z, y):
    return math.log(sum(math.exp(v) for v in z)) - z[y]


def written_log_odds(z, y):
    chance = math.exp(z[y]) / sum(math.exp(v) for v in z)
    return math.log((1 - chance) / chance)


def written_margin(z, y):
    return max(v for j, v in enumerate(z) if j != y) - z[y]


def written_dlr(z, y):
    best = sorted(z, reverse=True)
    return -(z[y] - max(v for j, v in enumerate(z) if j != y)) / (best[0] - best[2])


def written_hinge(z, y):
    return min(max(other for j, other in enumerate(z) if j != y) - z[y], 0)


UNTARGETED = {
    "ce": written_cross_entropy,
    "log_odds": written_log_odds,
    "margin": written_margin,
    "hinge": written_hinge,
    "dlr": written_dlr,
}


def written_dlr_targeted(z, y, t):
    best = sorted(z, reverse=True)
    return -(z[y] - z[t]) / (best[0] - (best[2] + best[3]) / 2)


def test_the_targeted_ratio_is_its_definition():
    truth = [written_dlr_targeted(*row) for row in zip(LOGITS.tolist(), LABEL.tolist(), TARGET.tolist(), strict=True)]
    assert dlr_targeted(LOGITS, LABEL, TARGET).tolist() == pytest.approx(truth, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", list(LOSSES.builtin))
def test_both_forms_of_a_loss_are_ascended_row_by_row(name):
    """Expect the label's loss to rise (untargeted), or the target's to fall, so its negative rises (targeted)."""
    target = torch.where(torch.arange(20) % 2 == 0, TARGET, -1)
    found = LOSSES[name](LOGITS, LABEL, target)
    for i in range(20):
        z, y, t = LOGITS[i].tolist(), int(LABEL[i]), int(target[i])
        untargeted = UNTARGETED[name](z, y)
        targeted = {
            "ce": lambda z, y, t: -written_cross_entropy(z, t),
            "log_odds": lambda z, y, t: -written_log_odds(z, t),
            "margin": lambda z, y, t: -written_margin(z, t),
            "hinge": lambda z, y, t: min(z[t] - max(other for j, other in enumerate(z) if j != t), 0),
            "dlr": written_dlr_targeted,
        }[name](z, y, t)
        assert found[i].item() == pytest.approx(targeted if t >= 0 else untargeted, rel=1e-12)


@pytest.mark.parametrize("name", UNTARGETED)
def test_losses_are_their_definitions_row_by_row(name):
    loss = LOSSES[name].untargeted
    truth = [UNTARGETED[name](z, y) for z, y in zip(LOGITS.tolist(), LABEL.tolist(), strict=True)]
    assert loss(LOGITS, LABEL).tolist() == pytest.approx(truth, rel=1e-12, abs=1e-12)


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot():
    z = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(z, LABEL).sum(), z)
    truth = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True) - torch.eye(7, dtype=torch.double)[LABEL]
    torch.testing.assert_close(gradient, truth, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("targeted", [False, True])
def test_log_odds_have_the_direction_of_cross_entropy_and_do_not_saturate(targeted):
    z, target = LOGITS.clone().requires_grad_(), TARGET if targeted else torch.full_like(TARGET, -1)
    of = {name: torch.autograd.grad(LOSSES[name](z, LABEL, target).sum(), z)[0] for name in ("ce", "log_odds")}
    share = 1 - LOGITS.softmax(1).gather(1, (TARGET if targeted else LABEL)[:, None])
    torch.testing.assert_close(of["log_odds"] * share, of["ce"], rtol=1e-9, atol=1e-12)
    sure = torch.tensor([[300.0, 1.0, 0.0]], requires_grad=True)
    assert torch.autograd.grad(cross_entropy(sure, torch.tensor([0])).sum(), sure)[0].eq(0).all(), "the peer is saturated"
    (gradient,) = torch.autograd.grad(log_odds(sure, torch.tensor([0])).sum(), sure)
    share = math.exp(1) / (math.exp(1) + 1)
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, share, 1 - share]]))


def test_the_gradient_of_the_margin_is_the_best_other_class_minus_the_label():
    z = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(margin(z, LABEL).sum(), z)
    for row, values, label in zip(gradient, LOGITS.tolist(), LABEL.tolist(), strict=True):
        best = max((j for j in range(7) if j != label), key=values.__getitem__)
        truth = [0.0] * 7
        truth[best], truth[label] = 1.0, -1.0
        assert row.tolist() == truth


def test_the_margin_is_positive_exactly_where_the_answer_is_wrong():
    assert torch.equal(margin(LOGITS, LABEL) > 0, LOGITS.argmax(1) != LABEL)
    assert margin(torch.tensor([[1.0, 3.0]]), torch.tensor([1])).item() == -2


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_stay_finite_and_have_one_value_a_row(name):
    extreme = torch.tensor([[1e4, -1e4, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0], [-1e30, 0.0, 1e30, 1.0]])
    for target in (torch.tensor([-1, -1, -1]), torch.tensor([0, 1, 3])):
        value = LOSSES[name](extreme, torch.tensor([1, 0, 2]), target)
        assert value.shape == (3,) and value.isfinite().all()
