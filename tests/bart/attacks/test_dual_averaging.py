import numpy as np
import pytest
import torch

from bart import Ball, DualAveraging, Eot, Goal, Restarts
from tests.support.contracts.attacks import assert_contract, linear_optimum
from tests.support.linear_models import CLASSES, LABEL, NO_TARGET, behind, images, linear, mirror, run


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_it_reaches_the_optimum_of_a_linear_model(norm, eps, targeted, steps):
    attack = DualAveraging(Ball(norm, eps), steps, True, Eot(1, unit=True))
    assert (linear_optimum(attack, targeted) > 1 - 1e-4).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5), ("l1", 2.0), ("l0", 6)])
@pytest.mark.parametrize("restarts", [1, 2])
def test_the_contract(norm, eps, restarts):
    attack = DualAveraging(Ball(norm, eps), 7, True, Eot(3, unit=True))
    assert_contract(attack if restarts == 1 else Restarts(attack, restarts, 3))


def test_steps_are_those_of_a_written_out_loop():
    """Use cross-entropy of five classes, in NumPy: the sum of gradients of L1 norm 1, clipped more and more sharply."""
    model, weight = linear()
    eps, clean, steps = 8 / 255, images(), 6
    attack = DualAveraging(Ball("linf", eps), steps, True, Eot(1, unit=True))
    state = attack.start(clean, Goal(LABEL, NO_TARGET), mirror())
    table, x = weight.double().numpy().reshape(CLASSES, -1), state.x.double().numpy().reshape(4, -1)
    start, total = clean.double().numpy().reshape(4, -1), np.zeros(x.shape)
    assert np.abs(x - start).max() > eps / 2, "the first gradient is of a random point"
    for s in range(1, steps + 1):
        state = attack.step(state, behind(model), 1000)
        for i in range(4):
            z = table @ x[i]
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            p[LABEL[i]] -= 1
            g = p @ table
            total[i] += g / np.abs(g).sum()
            corner = np.clip(start[i] + eps * np.sign(total[i]), 0, 1)
            bound = (1 - s / steps) * np.abs(total[i]).mean()
            x[i] = np.clip(start[i] + eps * np.clip(total[i] / bound, -1, 1), 0, 1) if s < steps else corner
            np.testing.assert_allclose(attack.result(state).numpy().reshape(4, -1)[i], corner, rtol=0, atol=1e-6)
        np.testing.assert_allclose(state.x.numpy().reshape(4, -1), x, rtol=0, atol=1e-5)


def test_a_restart_begins_with_an_empty_sum_and_a_soft_ball():
    model, attack = behind(linear()[0], 2), DualAveraging(Ball("linf", 8 / 255), 4, True, Eot(2, unit=True))
    state = run(Restarts(attack, 2, 3), Restarts(attack, 2, 3).start(images(), Goal(LABEL, NO_TARGET), mirror()), model, 5)
    share = (state.x - state.clean).abs() / (8 / 255)
    assert ((share > 0.01) & (share < 0.99)).float().mean() > 0.2, "the second run is soft at first"
    assert torch.allclose(state.memory["total"].abs().sum((1, 2, 3)), torch.ones(4), atol=0.5)
