import numpy as np
import pytest
import torch

from bart import Ball, Eot, Goal, Restarts, SigmaZero, draw_keys
from bart.gradient import forward_draws
from tests.support.contracts.attacks import assert_contract
from tests.support.linear_models import NO_TARGET, behind, images, linear, mirror, run


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("eps", [3, 60])
def test_the_contract(eps, restarts):
    attack = SigmaZero(Ball("l0", eps), 12, Eot(3, "hinge"))
    assert_contract(attack if restarts == 1 else Restarts(attack, restarts, 3))


def right(model, clean):
    """Return the classes that the model gives, as labels."""
    with torch.no_grad():
        return model(clean).argmax(1)


def fewest(table, bias, label, clean):
    """Return the fewest values of one image that have to change for another of two classes to win, in double precision."""
    slope = table[1 - label] - table[label]
    margin = slope @ clean + bias[1 - label] - bias[label]
    gains = np.sort(np.maximum(slope * (1 - clean), -slope * clean))[::-1]
    return int(np.searchsorted(margin + np.cumsum(gains), 0, side="right")) + 1


@pytest.mark.parametrize("targeted", [False, True])
def test_it_comes_near_the_fewest_changes_of_a_linear_model(targeted):
    model, weight = linear(2)
    model[1].bias.data[0] += 6
    clean, bias = images(), model[1].bias.double().detach().numpy()
    table = weight.double().numpy().reshape(2, -1)
    label = right(model, clean)
    target = 1 - label if targeted else NO_TARGET
    attack = SigmaZero(Ball("l0", 60), 300, Eot(1, "hinge"))
    state = run(attack, attack.start(clean, Goal(label, target), mirror()), behind(model), attack.steps)
    for i in range(4):
        least = fewest(table, bias, int(label[i]), clean[i].double().numpy().ravel())
        assert 5 <= least <= state.memory["fewest"][i] <= 1.1 * least + 1
    stored = attack.ball.store(attack.result(state), clean)
    assert (model(stored.float() / 255).argmax(1) != label).all(), "what was wrong is what is stored"
    assert torch.equal(attack.ball.distance(stored, clean), state.memory["fewest"])


def reference(table, label, clean, steps):
    """Write out the algorithm for one image and a linear model, in double precision; Adam and the schedule as published."""
    x, mean, square, threshold, size, trace = clean.copy(), 0.0, 0.0, 0.3, 1.0, []
    for i in range(steps):
        z = table @ x
        others = np.delete(np.arange(len(z)), label)
        other = others[z[others].argmax()]
        wrong, d = z[other] >= z[label], x - clean
        g = 2 * d * 1e-3 / (d**2 + 1e-3) ** 2 / len(x) - (0 if wrong else 1) * (table[other] - table[label])
        g /= np.abs(g).max()
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        x = np.clip(x - size * (mean / (1 - 0.9 ** (i + 1))) / (np.sqrt(square / (1 - 0.999 ** (i + 1))) + 1e-8), 0, 1)
        size = 0.1 + 0.9 * (1 + np.cos(np.pi * i / steps)) / 2
        threshold = min(max(threshold + 0.01 * size * (1 if wrong else -1), 0), 1)
        x = np.where(np.abs(x - clean) < threshold, clean, np.round(255 * x) / 255)
        trace.append(x)
    return trace


def test_steps_are_those_of_a_written_out_loop():
    model, weight = linear()
    clean, steps = images(), 12
    attack, label = SigmaZero(Ball("l0", 20), steps, Eot(1, "hinge")), right(model, clean)
    state = attack.start(clean, Goal(label, NO_TARGET), mirror())
    table = weight.double().numpy().reshape(5, -1)
    wanted = [reference(table, int(label[i]), clean[i].double().numpy().ravel(), steps) for i in range(4)]
    for s in range(steps):
        state = attack.step(state, behind(model), 1000)
        for i in range(4):
            found = state.x[i].double().numpy().ravel()
            apart = np.abs(found - wanted[i][s])
            assert (apart > 1.5 / 255).mean() < 0.02, f"step {s + 1}: a tie at the threshold may fall otherwise, no more"


def test_a_step_is_won_only_if_every_draw_is_wrong():
    model, _ = linear()
    defended, attack = behind(model, 2), SigmaZero(Ball("l0", 192), 40, Eot(8, "hinge"))
    label = right(model, images())
    state, outcomes = attack.start(images(), Goal(label, NO_TARGET), mirror()), set()
    for _ in range(40):
        keys = draw_keys.to_attack(defended.keys(state.keys, "step", state.step), 8)
        ((_, _, logits),) = forward_draws(defended, state.x, keys, 8, 1000)
        wrong = (logits.argmax(2) != label[:, None]).sum(1)
        changes, before = (state.x != state.clean).flatten(1).sum(1), state.memory["fewest"]
        state = attack.step(state, defended, 1000)
        assert torch.equal(state.memory["fewest"], torch.where(wrong == 8, torch.minimum(changes, before), before))
        outcomes |= set(wrong.tolist())
    assert {0, 8} < outcomes, "some steps are wrong in some draws"


def test_before_it_wins_the_example_is_the_iterate():
    model, _ = linear()
    attack = SigmaZero(Ball("l0", 2), 50, Eot(1, "hinge"))
    state = attack.start(images(), Goal(right(model, images()), NO_TARGET), mirror())
    state = run(attack, state, behind(model), 1)
    assert state.memory["fewest"].isinf().all()
    assert torch.equal(attack.result(state), state.clean)
    state = run(attack, state, behind(model), 30)
    assert state.memory["fewest"].isfinite().all()
    assert ((attack.result(state) != state.clean).flatten(1).sum(1) <= 2).all()


def test_another_norm_or_loss_is_refused():
    for ball, eot in ((Ball("l1", 1.0), Eot(loss="hinge")), (Ball("l0", 1), Eot(loss="margin"))):
        with pytest.raises(ValueError, match="SigmaZero attacks in l0, by the loss hinge"):
            SigmaZero(ball, 5, eot)
