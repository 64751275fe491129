import numpy as np
import pytest

from bart import AggMo, Ball, Eot, Goal
from tests.support.contracts.attacks import assert_contract, linear_optimum
from tests.support.linear_models import CLASSES, LABEL, NO_TARGET, behind, images, linear, mirror


@pytest.mark.parametrize(("norm", "eps", "size"), [("linf", 8 / 255, 2 / 255), ("l2", 0.5, 0.1)])
@pytest.mark.parametrize("targeted", [False, True])
def test_it_reaches_the_optimum_of_a_linear_model(norm, eps, size, targeted):
    attack = AggMo(Ball(norm, eps), 8, size, False, Eot(1, "margin"))
    assert (linear_optimum(attack, targeted) > 1 - 1e-4).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_contract(norm):
    eps = 8 / 255 if norm == "linf" else 0.5
    assert_contract(AggMo(Ball(norm, eps), 7, eps / 4, True, Eot(3, "margin", "mean_logits", fixed_order=True)))


def test_steps_are_those_of_a_written_out_loop():
    """Use cross-entropy of five classes, in NumPy: six buffers with 1 - 10^-j, clamped gradients, the mean of their signs."""
    model, weight = linear()
    eps, size, clean = 8 / 255, 1 / 255, images()
    attack = AggMo(Ball("linf", eps), 9, size, True, Eot(1), clamp=1.5)
    state = attack.start(clean, Goal(LABEL, NO_TARGET), mirror())
    table, x = weight.double().numpy().reshape(CLASSES, -1), state.x.double().numpy().reshape(4, -1)
    start, velocity = clean.double().numpy().reshape(4, -1), np.zeros((4, 6, x.shape[1]))
    damping = np.array([0, 0.9, 0.99, 0.999, 0.9999, 0.99999])
    for _ in range(9):
        state = attack.step(state, behind(model), 1000)
        for i in range(4):
            z = table @ x[i]
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            p[LABEL[i]] -= 1
            g = p @ table
            g = np.clip(g, -1.5 * np.abs(g).mean(), 1.5 * np.abs(g).mean())
            velocity[i] = damping[:, None] * velocity[i] + g
            x[i] = np.clip(np.clip(x[i] + size * np.sign(velocity[i]).mean(0), start[i] - eps, start[i] + eps), 0, 1)
        np.testing.assert_allclose(state.x.numpy().reshape(4, -1), x, rtol=0, atol=1e-5)
