"""What a state says of the gradients that its attack saw: how many were zero or not finite, and how long the others were."""

from dataclasses import replace

import pytest
import torch

from bart.attacks.noise import Noise
from bart.attacks.pgd import Pgd
from bart.attacks.sparse.sigma_zero import SigmaZero
from bart.attacks.spsa import Spsa
from bart.attacks.square import Square
from bart.attacks.standard import Standard
from bart.attacks.state import State
from bart.ball import Ball
from bart.gradient import Eot, Goal
from tests.support.linear_models import LABEL, NO_TARGET, behind, images, linear, mirror, run

GOAL = Goal(LABEL, NO_TARGET)
LINF = Ball("linf", 8 / 255)
ODD = [0.0, 1e-45, 1.0, 3e38, torch.inf, -torch.inf, torch.nan]


def started():
    return Pgd(LINF).start(images(), GOAL, mirror())


def mean(state):
    """Return the mean norm of each image, (n,)."""
    return state.norms[:, 1] / state.norms[:, 0]


@pytest.mark.parametrize("value", ODD)
def test_one_odd_value_among_zeros(value):
    gradient = torch.zeros_like(images())
    gradient[1, 2, 3, 4] = value
    state = started().advanced(images(), gradient)
    finite = torch.tensor(value).isfinite()
    assert state.zero.tolist() == [1, int(value == 0), 1, 1] and state.nonfinite.tolist() == [0, int(~finite), 0, 0]
    size = float(torch.tensor(value).abs()) if finite else 0.0
    assert state.norms.tolist() == [[1, 0], [float(finite), size], [1, 0], [1, 0]]


def test_finite_values_never_count_as_infinite():
    state = started().advanced(images(), torch.full_like(images(), 3e38))
    assert state.nonfinite.tolist() == [0] * 4
    state = started().advanced(images(), torch.full_like(images(), 1e30))
    assert mean(state).tolist() == pytest.approx([1e30 * images()[0].numel() ** 0.5] * 4, rel=1e-6)


def test_settled_images_are_left_out_whatever_their_gradient():
    gradient = torch.tensor([0.0, torch.nan, 2.0, 2.0]).view(-1, 1, 1, 1).expand_as(images())
    state = started().advanced(images(), gradient, settled=torch.tensor([True, True, True, False]))
    assert state.zero.tolist() == state.nonfinite.tolist() == [0] * 4 and state.norms[:, 0].tolist() == [0, 0, 0, 1]


def test_the_norm_is_the_same_bits_alone():
    gradient = torch.randn(9, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    gradient *= torch.logspace(-6, 3, 9).view(-1, 1, 1, 1)
    state = Pgd(LINF).start(torch.rand(9, 3, 4, 4), Goal(torch.zeros(9, dtype=torch.int64), torch.full((9,), -1)), mirror(9))
    together = state.advanced(state.x, gradient)
    for i in range(9):
        alone = state.rows([i]).advanced(state.x[i : i + 1], gradient[i : i + 1])
        assert torch.equal(alone.norms[0], together.norms[i])
        assert float(alone.norms[0, 1]) == pytest.approx(float((gradient[i].double() ** 2).sum() ** 0.5), rel=1e-6)


def test_a_linear_model_has_the_norm_of_the_closed_form():
    """The margin of two classes has one gradient everywhere: the difference of their weights."""
    model, weight = linear(2)
    attack = Pgd(LINF, 5, 2 / 255, eot=Eot(3, "margin"))
    label = torch.tensor([0, 1, 0, 1])
    state = run(attack, attack.start(images(), Goal(label, NO_TARGET), mirror()), behind(model), 5)
    truth = float((weight[1] - weight[0]).double().norm())
    assert state.norms[:, 0].tolist() == [5] * 4 and mean(state).tolist() == pytest.approx([truth] * 4, rel=1e-6)


def test_unit_gradients_that_agree_have_an_l1_norm_of_one():
    model, weight = linear(2)
    attack = Pgd(LINF, 2, 2 / 255, eot=Eot(4, "margin", unit=True))
    state = run(attack, attack.start(images(), Goal(LABEL % 2, NO_TARGET), mirror()), behind(model), 2)
    apart = (weight[1] - weight[0]).double()
    assert mean(state).tolist() == pytest.approx([float(apart.norm() / apart.abs().sum())] * 4, rel=1e-5)


def test_spsa_measures_its_estimates_and_other_attacks_without_gradients_measure_nothing():
    defended = behind(linear()[0], 2)
    for attack in (Square(LINF, 3), Noise(LINF, 3)):
        state = run(attack, attack.start(images(), GOAL, mirror()), defended, 3)
        assert not state.norms.any() and not state.zero.any()
    spsa = Spsa(LINF, 3, pairs=4)
    assert (run(spsa, spsa.start(images(), GOAL, mirror()), defended, 3).norms[:, 0] == 3).all()


def test_standard_measures_the_steps_of_its_gradients_alone():
    """Where the gradient is zero half of the first run, then the undefended one, then none: the search takes no gradient."""
    model, _ = linear()
    for weight in model.parameters():
        weight.data.zero_()
    attack = Standard(LINF, 16, Eot(2, "margin", unit=True), choice_draws=0)
    state = run(attack, attack.start(images(), GOAL, mirror()), behind(model, 1), 16)
    assert state.norms.tolist() == [[attack.transfer_ends, 0]] * 4 and state.zero.tolist() == [attack.transfer_ends] * 4


def test_sigma_zero_leaves_out_iterates_that_are_wrong_already():
    model, weight = linear()
    model[1].bias.data[3] = 1e3  # every image is wrong from the start
    attack = SigmaZero(Ball("l0", 20), 4, Eot(2, "hinge"))
    state = run(attack, attack.start(images(), GOAL, mirror()), behind(model), 4)
    assert not state.norms.any() and not state.zero.any()
    model[1].bias.data[3] = 0
    model[1].bias.data[LABEL[0]] = 1e3  # the first image is right, and stays so
    attack = SigmaZero(Ball("l0", 20), 1, Eot(2, "hinge"))
    state = run(attack, attack.start(images(), GOAL, mirror()), behind(model), 1)
    length = [float((w - weight[LABEL[0]]).norm()) for w in weight]
    assert min(abs(float(mean(state)[0]) - one) for one in length) < 1e-4


def test_a_record_without_norms_goes_on_with_unknown_ones():
    attack, defended = Pgd(LINF, 4), behind(linear()[0])
    half = run(attack, started(), defended, 2)
    record = {name: value for name, value in half.tensors().items() if name != "norms"}
    whole, resumed = (run(attack, state, defended, 2) for state in (half, State.of(record, "cpu")))
    assert resumed.norms.isnan().all() and resumed.norms.shape == (4, 2)
    same = replace(resumed, norms=whole.norms).tensors()
    assert all(torch.equal(value, whole.tensors()[name]) for name, value in same.items())
