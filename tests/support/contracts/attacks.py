"""Check what every attack must do: be pure, resume exactly, let images join and leave, stay in the ball, count its work."""

import torch

from bart.attacks.state import State
from bart.gradient import Goal
from bart.rng import Mirror
from tests.support.images import keys
from tests.support.linear_models import LABEL, NO_TARGET, assert_same, behind, images, linear, mirror, run

GOAL = Goal(LABEL, NO_TARGET)
MIXED = Goal(LABEL, torch.tensor([-1, 3, -1, 0]))


def assert_contract(attack, k=2, more=3):
    """Run an attack through a random defense of `k` transforms, `more` of its steps after a resume, and check every rule."""
    defended = behind(linear()[0], k)
    start = attack.start(images(), MIXED, mirror())
    before = {name: value.clone() for name, value in start.tensors().items()}
    assert all(len(value) == 4 for value in before.values())
    whole = run(attack, start, defended, attack.steps)
    assert_same(start, State.of(before, "cpu"))  # pure
    assert_close(run(attack, start, defended, attack.steps, stack=3), whole)

    part = run(attack, start, defended, attack.steps - more)
    record = {name: value.clone() for name, value in part.tensors().items()}
    assert_same(run(attack, State.of(record, "cpu"), defended, more), whole)

    result = attack.result(whole)
    assert attack.ball.distance((255 * whole.clean).round().to(torch.uint8), whole.clean).amax() == 0
    stored = attack.ball.store(result, whole.clean)
    assert (attack.ball.distance(stored, whole.clean) <= attack.ball.eps + 1e-5).all()
    inside = attack.ball.project(result, whole.clean)
    torch.testing.assert_close(inside, result, rtol=0, atol=1e-5)

    cost = attack.cost
    assert whole.grad_evals.tolist() == [cost.gradients] * 4, "gradients are not what the cost says"
    assert whole.forward_evals.tolist() == [cost.forwards] * 4, "forward passes are not what the cost says"
    assert whole.step.host.tolist() == [attack.steps] * 4
    assert_images_are_independent(attack, defended)


def assert_close(a, b):
    """Assert that two states are equal but for rounding: a matrix product may choose its order by the size of the batch."""
    left, right = a.tensors(), b.tensors()
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def assert_images_are_independent(attack, defended):
    """Assert that two images at step 0 and two at a later step, in one batch, go on as each would alone."""

    def alone(i, steps):
        one = slice(i, i + 1)
        state = attack.start(images()[one], MIXED.rows(one), Mirror.of(keys(4)[one], "cpu"))
        return run(attack, state, defended, steps).tensors()

    ahead = attack.steps // 2
    mixed = [alone(i, ahead if i < 2 else 0) for i in range(4)]
    state = State.of({name: torch.cat([m[name] for m in mixed]) for name in mixed[0]}, "cpu")
    together = run(attack, state, defended, attack.steps - ahead).tensors()
    for i in range(4):
        for name, value in alone(i, attack.steps if i < 2 else attack.steps - ahead).items():
            torch.testing.assert_close(
                together[name][i : i + 1], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )


def linear_optimum(attack, targeted, count=4, tolerance=1e-5):
    """Return the share of the best possible gain that an attack reaches on a linear model of two classes, (n,)."""
    model, weight = linear(2)
    clean, label = images() * 0.2 + 0.4, torch.tensor([0, 1, 0, 1])
    clean = (clean * 255).round() / 255
    target = 1 - label if targeted else NO_TARGET
    state = run(attack, attack.start(clean, Goal(label, target), mirror()), behind(model), attack.steps)
    slope = weight[1 - label] - weight[label]
    gained = ((attack.result(state) - clean) * slope).flatten(1).sum(1)
    dual = {"linf": 1, "l2": 2}[attack.ball.norm]
    return gained / (attack.ball.eps * slope.flatten(1).norm(p=dual, dim=1))
