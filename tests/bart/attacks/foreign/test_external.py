import random

import numpy as np
import pytest
import torch
from torch import nn

import bart
from bart.attacks.foreign import DISTANCE
from bart.attacks.foreign.external import shared
from bart.attacks.lanes import over, step
from tests.support.linear_models import LABEL, NO_TARGET, assert_same, behind, images, linear, mirror

MODEL, WEIGHT = linear()
BALL = bart.Ball("linf", 8 / 255)
GOAL = bart.Goal(LABEL, NO_TARGET)


def ran(function, defended=None, keys=None, rows=slice(None), **options):
    """Return the attack by a function and its final state."""
    attack = bart.External(BALL, function, "mine:function", **options)
    keys = keys or mirror()
    state = attack.start(images()[rows], bart.Goal(LABEL[rows], NO_TARGET[rows]), keys.map(lambda side: side[rows]))
    defended = defended or behind(MODEL)
    while not over(state, attack):
        state = step(attack, state, defended, 16, 4)
    return attack, state


def fgsm(model, x, y):
    """One step of the sign of the gradient, twice as long as the ball allows."""
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y, reduction="sum"), x)
    return x + 16 / 255 * gradient.sign()


def wanderer(model, x, y):
    """Random points of all generators that a library may use, and draws of the model."""
    other = random.random() + np.random.rand() + model(x).detach()[:, :1, None, None]
    return x + 0.02 * torch.randn_like(x) + 1e-3 * other


def test_its_examples_are_moved_into_the_ball_and_say_how_far_they_were():
    """On a linear model the function's step has a closed form."""
    attack, state = ran(fgsm)
    p = (images().flatten(1) @ WEIGHT.flatten(1).T).softmax(1)
    gradient = torch.einsum("nc,cijk->nijk", p - nn.functional.one_hot(LABEL, 5), WEIGHT)
    torch.testing.assert_close(state.x, (images() + 8 / 255 * gradient.sign()).clamp(0, 1), rtol=0, atol=1e-6)
    away = (images() + 16 / 255 * gradient.sign()).clamp(0, 1).mul(255).round() - (255 * images()).round()
    torch.testing.assert_close(state.memory[DISTANCE], away.abs().flatten(1).amax(1) / 255)
    assert (BALL.distance(BALL.store(attack.result(state), state.clean), state.clean) <= BALL.eps + 1e-6).all()
    assert state.grad_evals.tolist() == [1] * 4 and state.forward_evals.tolist() == [0] * 4


def test_how_images_lie_in_memory_changes_no_example():
    """A random start of torch follows memory, and some libraries view images as rows."""

    def viewing(model, x, y):
        assert len(x.view(len(x), -1)) == len(y)
        return wanderer(model, x, y)

    attack, defended = bart.External(BALL, viewing, batch=4), behind(MODEL, 3, ("noise", "grey_mix", "color_precision"))
    plain, last = (
        attack.step(attack.start(clean, GOAL, mirror()), defended, 16).x
        for clean in (images(), images().contiguous(memory_format=torch.channels_last))
    )
    assert torch.equal(plain, last)


def test_an_image_alone_has_the_same_example_as_among_others():
    defended = behind(MODEL, 3, ("noise", "grey_mix", "color_precision"))
    _, together = ran(wanderer, defended)
    for i in range(4):
        _, alone = ran(wanderer, defended, rows=slice(i, i + 1))
        assert_same(alone, together.rows([i]))
    assert not torch.equal(ran(wanderer, defended, mirror(seed=1))[1].x, together.x)


def test_global_generators_are_as_they_were():
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    _, first = ran(wanderer)
    assert random.getstate() == before[0] and (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    random.seed(4), np.random.seed(4), torch.manual_seed(4)
    assert torch.equal(ran(wanderer)[1].x, first.x)


def test_a_batch_shares_what_it_spent():
    def odd(model, x, y):
        model(x[:3]), model(x[:2])
        return x

    _, state = ran(odd, batch=4)
    assert state.forward_evals.tolist() == [2, 1, 1, 1] and state.grad_evals.tolist() == [0] * 4
    sizes = []

    def sized(model, x, y):
        sizes.append(len(x))
        return x

    ran(sized, batch=3)
    assert sizes == [3, 1]


def test_a_frozen_defense_is_attacked_through_the_draw_that_judges():
    frozen = bart.Defended(behind(MODEL).classifier, bart.Barrage(2, ("noise", "grey_mix")), frozen=True)
    seen = []

    def watching(model, x, y):
        seen.append(model(x))
        return x

    ran(watching, frozen, batch=4)
    keys = bart.draw_keys.to_judge(mirror(), 1, True)
    torch.testing.assert_close(torch.cat(seen), frozen.logits(images(), keys))


def test_shares_add_up():
    assert [tuple(c) for c in shared(bart.Cost(7, 2), 3)] == [(3, 1), (2, 1), (2, 0)]


def raising(model, x, y):
    raise KeyError("no\nsuch thing")


WRONG = {
    "raises": (raising, RuntimeError, r"external attack mine:function raised KeyError: 'no\\nsuch thing'$"),
    "array": (
        lambda m, x, y: x.numpy(),
        ValueError,
        r"returned ndarray: expected the examples, a float tensor \(1, 3, 8, 8\) in",
    ),
    "labels": (lambda m, x, y: y, ValueError, r"returned torch.int64: expected"),
    "shape": (lambda m, x, y: x[0], ValueError, r"returned \(3, 8, 8\): expected the examples"),
    "nan": (lambda m, x, y: x * torch.nan, ValueError, r"returned NaN or infinite values: expected"),
    "none": (lambda m, x, y: None, ValueError, r"returned NoneType: expected"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_no_example_is_refused_in_one_line(case):
    function, kind, said = WRONG[case]
    with pytest.raises(kind, match=said) as caught:
        ran(function)
    assert "\n" not in str(caught.value)


def test_running_out_of_memory_stays_what_it_is():
    def hungry(model, x, y):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        ran(hungry)


def test_double_precision_and_values_outside_the_range_are_taken():
    _, state = ran(lambda model, x, y: x.double() + 2)
    assert state.x.dtype == torch.float32
    torch.testing.assert_close(state.x, (images() + 8 / 255).clamp(0, 1))
