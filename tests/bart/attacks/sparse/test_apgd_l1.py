import numpy as np
import pytest
import torch

from bart import ApgdL1, Ball, Eot, Goal, Restarts
from tests.support.contracts.attacks import assert_contract
from tests.support.linear_models import LABEL, NO_TARGET, behind, images, linear, mirror, run


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("eps", [0.5, 6.0])
def test_the_contract(eps, restarts):
    attack = ApgdL1(Ball("l1", eps), 12, True, Eot(3))
    assert_contract(attack if restarts == 1 else Restarts(attack, restarts, 3))


@pytest.mark.parametrize("eps", [0.5, 3.0, 12.0])
@pytest.mark.parametrize("targeted", [False, True])
def test_it_comes_near_the_optimum_of_a_linear_model(eps, targeted):
    """The best moves the values with the largest weights to black or white until the radius is used up."""
    model, weight = linear(2)
    clean, label = images(), torch.tensor([0, 1, 0, 1])
    target = 1 - label if targeted else NO_TARGET
    attack = ApgdL1(Ball("l1", eps), 100, True, Eot(1, "margin"))
    state = run(attack, attack.start(clean, Goal(label, target), mirror()), behind(model), attack.steps)
    for i in range(4):
        slope = (weight[1 - label[i]] - weight[label[i]]).double().flatten().numpy()
        c = clean[i].double().flatten().numpy()
        best, left = 0.0, eps
        for j in np.argsort(-np.abs(slope)):
            move = min(left, 1 - c[j] if slope[j] > 0 else c[j])
            best, left = best + abs(slope[j]) * move, left - move
        gained = (slope * ((attack.result(state)[i] - clean[i]).double().flatten().numpy())).sum()
        assert 0.97 * best < gained <= best * (1 + 1e-5)


def projected(x, clean, radius):
    """Project onto the L1 ball and [0, 1] by bisection."""
    delta, low, high = x - clean, 0.0, np.abs(x - clean).max()

    def moved(t):
        return np.clip(clean + np.sign(delta) * np.maximum(np.abs(delta) - t, 0), 0, 1)

    if np.abs(moved(0.0) - clean).sum() <= radius:
        return moved(0.0)
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if np.abs(moved(t) - clean).sum() > radius else (low, t)
    return moved(high)


def evaluated(table, label, x):
    """Return the margin of a linear model and its gradient."""
    z = table @ x
    others = np.delete(np.arange(len(z)), label)
    other = others[z[others].argmax()]
    return z[other] - z[label], table[other] - table[label]


def reference(table, label, clean, start, eps, steps):
    """Write out the algorithm for one image and a linear model, in double precision: (iterate after each step, example)."""
    d, part, trace, best, share, changed = len(clean), 3 * steps // 10, [], start, 0.2, len(clean)
    for radius, count in zip((3 * eps, 2 * eps, eps), (part, part, steps - 2 * part), strict=True):
        x = projected(best, clean, radius)
        if radius < 3 * eps:
            changed = (np.abs(x - clean) > 0).sum()
            share = changed / d / 1.5
        best_loss, size = -np.inf, radius
        for s in range(count):
            loss, slope = evaluated(table, label, x)
            if loss > best_loss:
                best, best_slope, best_loss = x, slope, loss
            if s and s % max(1, count // 25) == 0:
                now = (np.abs(best - clean) > 0).sum()
                size = radius if now < 0.95 * changed else max(size / 1.5, radius / 10)
                x, slope = (best, best_slope) if now < 0.95 * changed else (x, slope)
                share, changed = now / d / 1.5, now
            most = min(max(int(np.ceil(share * d - 1e-9)), 1), d)
            signs = np.where(np.abs(slope) >= np.sort(np.abs(slope))[::-1][most - 1], np.sign(slope), 0)
            x = projected(x + size * signs / np.abs(signs).sum(), clean, radius)
            trace.append(x)
    return trace, projected(best, clean, eps)


def test_steps_are_those_of_a_written_out_loop():
    """In double precision, on numbers of which none is a tie: a threshold that falls otherwise changes which values move."""
    model, weight = linear()
    clean, eps, steps = images().double(), 2.0, 40
    attack = ApgdL1(Ball("l1", eps), steps, True, Eot(1, "margin"))
    state = attack.start(clean.float(), Goal(LABEL, NO_TARGET), mirror())
    first = state.x.double().numpy().reshape(4, -1)
    assert (np.abs(first - clean.numpy().reshape(4, -1)).sum(1) > 2.1 * eps).all(), "the first ball is three times as large"
    results = [reference(weight.double().numpy().reshape(5, -1), int(LABEL[i]), clean[i].numpy().ravel(), first[i], eps, steps)
               for i in range(4)]  # fmt: skip
    for s in range(steps):
        state = attack.step(state, behind(model), 1000)
        if s + 1 in (3 * steps // 10, 6 * steps // 10):
            continue  # the next ball begins at once
        for i in range(4):
            np.testing.assert_allclose(state.x[i].numpy().ravel(), results[i][0][s], rtol=0, atol=2e-4, err_msg=f"step {s + 1}")
    for i in range(4):
        np.testing.assert_allclose(attack.result(state)[i].numpy().ravel(), results[i][1], rtol=0, atol=2e-4)


def test_few_steps_use_the_last_ball_alone_and_results_are_inside_at_any_step():
    attack = ApgdL1(Ball("l1", 1.0), 1, False, Eot(1))
    state = run(attack, attack.start(images(), Goal(LABEL, NO_TARGET), mirror()), behind(linear()[0]), 1)
    assert ((state.x - state.clean).abs().flatten(1).sum(1) <= 1 + 1e-5).all()
    long = ApgdL1(Ball("l1", 1.0), 20, True, Eot(1))
    state = long.start(images(), Goal(LABEL, NO_TARGET), mirror())
    for _ in range(20):
        assert ((long.result(state) - state.clean).abs().flatten(1).sum(1) <= 1 + 1e-5).all()
        state = long.step(state, behind(linear()[0]), 1000)


def test_another_norm_is_refused():
    with pytest.raises(ValueError, match="norm 'l2': expected l1; Apgd attacks in linf and l2"):
        ApgdL1(Ball("l2", 1.0))
