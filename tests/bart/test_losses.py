import math

import pytest
import torch

from bart.losses import LOSSES, cross_entropy, margin

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 4 * torch.randn(20, 7, generator=GENERATOR, dtype=torch.double)
LABEL = torch.randint(7, (20,), generator=GENERATOR)


def written_cross_entropy(z, y):
    return math.log(sum(math.exp(v) for v in z)) - z[y]


def written_margin(z, y):
    return max(v for j, v in enumerate(z) if j != y) - z[y]


@pytest.mark.parametrize(("loss", "written"), [(cross_entropy, written_cross_entropy), (margin, written_margin)])
def test_losses_are_their_definitions_row_by_row(loss, written):
    truth = [written(z, y) for z, y in zip(LOGITS.tolist(), LABEL.tolist(), strict=True)]
    assert loss(LOGITS, LABEL).tolist() == pytest.approx(truth, rel=1e-12, abs=1e-12)


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot():
    z = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(z, LABEL).sum(), z)
    truth = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True) - torch.eye(7, dtype=torch.double)[LABEL]
    torch.testing.assert_close(gradient, truth, rtol=1e-12, atol=1e-12)


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
    extreme = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e30, 0.0, 1e30]])
    value = LOSSES[name](extreme, torch.tensor([1, 0, 2]))
    assert value.shape == (3,) and value.isfinite().all()
