import numpy as np
import pytest
import torch

from bart import Apgd, Ball, Eot, Goal
from tests.support.contracts.attacks import assert_contract, linear_optimum
from tests.support.linear_models import CLASSES, LABEL, NO_TARGET, behind, images, linear, mirror, run


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_it_reaches_the_optimum_of_a_linear_model(norm, eps, targeted, loss):
    attack = Apgd(Ball(norm, eps), 10, False, Eot(1, loss))
    assert (linear_optimum(attack, targeted) > 1 - 1e-4).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_contract(norm):
    assert_contract(Apgd(Ball(norm, 8 / 255 if norm == "linf" else 0.5), 12, True, Eot(3)))


def test_the_periods_are_those_of_the_article():
    """Expect w = 0, 22, 41, 57, 70, 80, 87, 93, 99 for 100 steps (p grows by .22, .19, .16, .13, .10, .07, .06, .06)."""
    assert Apgd(Ball("linf", 0.1), 100).checkpoints == (22, 41, 57, 70, 80, 87, 93, 99)


class Hills(torch.nn.Module):
    """Classify two classes by a wavy function of the image, the margin of class 1: a step that is too long ends lower."""

    def forward(self, x):
        z = (torch.sin(40 * x) + 3 * x).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(z), z], dim=1)


def test_it_is_a_written_out_loop_of_the_articles_algorithm_1():
    """Use one image, L-inf, deterministic, in NumPy; the step size halves several times on the way."""
    eps, steps, clean = 0.1, 30, images(1) * 0.5 + 0.25
    attack = Apgd(Ball("linf", eps), steps, True, Eot(1, "margin"))
    state = attack.start(clean, Goal(torch.tensor([0]), torch.tensor([-1])), mirror(1))
    x0 = clean.double().numpy()

    def project(x):
        return np.clip(np.clip(x, x0 - eps, x0 + eps), 0, 1)

    def value(x):
        return (np.sin(40 * x) + 3 * x).sum()

    def slope(x):
        return 40 * np.cos(40 * x) + 3

    xs = [state.x.double().numpy()]
    size, best, best_value = 2 * eps, xs[0], value(xs[0])
    values, sizes, bests = [best_value], [size], [best_value]
    periods, halvings = [0, *attack.checkpoints], 0
    for i in range(steps):
        x = xs[i]
        if i in periods[1:]:
            before = periods[periods.index(i) - 1]
            rises = sum(values[j + 1] > values[j] for j in range(before, i))
            stuck = sizes[before] == sizes[i - 1] and bests[before] == bests[i]
            if rises < 0.75 * (i - before) or stuck:
                size, x, halvings = size / 2, best, halvings + 1
        sizes = [*sizes[:i], size]
        z = project(x + size * np.sign(slope(x)))
        share = 1.0 if i == 0 else 0.75
        xs[i] = x
        xs.append(project(x + share * (z - x) + (1 - share) * (x - (xs[i - 1] if i else x))))
        values.append(value(xs[i + 1]))
        if values[-1] > best_value:
            best, best_value = xs[i + 1], values[-1]
        bests.append(best_value)
    assert halvings >= 2, "the example never halves"
    state = run(attack, state, behind(Hills()), steps)
    best_seen = max(values[:steps])
    found = value(attack.result(state).double().numpy())
    assert found == pytest.approx(best_seen, rel=1e-4)
    np.testing.assert_allclose(state.x.double().numpy(), xs[steps], atol=1e-4)


def test_a_size_halves_where_few_steps_rise_or_nothing_was_gained_at_the_size_before():
    """Check conditions 1 and 2 of the article at step 41, 19 steps after the checkpoint before, of which .75 are 14.25."""
    attack, step = Apgd(Ball("linf", 0.1), 100), torch.full((5,), 41)
    memory = {
        "rises": torch.tensor([15.0, 14.0, 19.0, 19.0, 19.0]),
        "checkpoint": torch.full((5,), 22.0),
        "best_loss": torch.tensor([3.0, 3.0, 2.0, 2.0, 2.0]),
        "checkpoint_loss": torch.tensor([2.0, 2.0, 2.0, 2.0, 1.9]),
        "halved": torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0]),  # a size that has just halved has to be tried first
    }
    early = dict(memory)
    assert not attack._halve(early, step - 1).any()
    assert all(torch.equal(early[name], memory[name]) for name in memory), "between checkpoints nothing is noted"
    halve = attack._halve(memory, step)
    assert halve.tolist() == [False, True, True, False, False]
    assert torch.equal(memory["halved"], halve.float()) and memory["rises"].tolist() == [0] * 5
    assert memory["checkpoint"].tolist() == [41] * 5 and torch.equal(memory["checkpoint_loss"], memory["best_loss"])


def test_a_loss_that_is_not_finite_never_becomes_the_best():
    class Cliff(torch.nn.Module):
        def forward(self, x):
            z = x.flatten(1).sum(1)
            return torch.stack([torch.zeros_like(z), torch.where(z > z.new_tensor(1e9), torch.nan, z)], dim=1)

    attack = Apgd(Ball("linf", 0.1), 5, False, Eot(1, "margin"))
    state = run(attack, attack.start(images(1), Goal(torch.tensor([0]), torch.tensor([-1])), mirror(1)), behind(Cliff()), 5)
    assert attack.result(state).isfinite().all() and state.memory["best_loss"].isfinite().all()


def test_the_ratio_loss_needs_more_classes():
    assert Apgd(Ball("linf", 0.1), eot=Eot(1, "dlr")).classes == 4
    attack = Apgd(Ball("linf", 0.1), 6, False, Eot(1, "dlr"))
    state = attack.start(images(), Goal(LABEL, NO_TARGET), mirror())
    assert run(attack, state, behind(linear(CLASSES)[0]), 6).memory["best_loss"].isfinite().all()
