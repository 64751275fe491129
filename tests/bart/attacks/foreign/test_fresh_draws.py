import random

import numpy as np
import pytest
import torch

import bart
from bart import draw_keys
from bart.attacks.attack import Cost
from tests.support.linear_models import behind, images, linear, mirror

MODEL, WEIGHT = linear()


def noisy(**options):
    return behind(MODEL, 3, ("noise", "grey_mix", "color_precision", "swirl", "zoom")), options


def test_the_same_calls_give_the_same_logits_and_another_call_others():
    defended, _ = noisy()
    one, two = (bart.FreshDraws(defended, key=7) for _ in range(2))
    x = images()
    first, second = one(x), one(x)
    assert torch.equal(first, two(x)) and torch.equal(second, two(x))
    assert not torch.equal(first, second) and not torch.equal(bart.FreshDraws(defended, key=8)(x), first)
    assert len({tuple(row.tolist()) for row in one(x[:1].repeat(6, 1, 1, 1))}) == 6, "each row has a draw of its own"


def test_no_global_generator_is_read_or_moved():
    defended, _ = noisy()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = bart.FreshDraws(defended, key=7)(images())
    assert random.getstate() == before[0] and (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.manual_seed(2)
    assert torch.equal(bart.FreshDraws(defended, key=7)(images()), first)


def test_none_of_its_draws_can_judge(monkeypatch):
    defended, _ = noisy()
    seen = []
    logits = type(defended).logits

    def watched(self, x, keys, *rest, **named):
        seen.append(keys)
        return logits(self, x, keys, *rest, **named)

    monkeypatch.setattr(type(defended), "logits", watched)
    model = bart.FreshDraws(defended, draws=3, stack=5)
    model(images()), model(images())
    keys = torch.cat([k.host for k in seen])
    assert len(keys) == 24 == len(keys.unique()) and not (keys & draw_keys.JUDGES).any()


@pytest.mark.parametrize("draws", [1, 3])
def test_gradients_are_those_of_the_same_draws(draws):
    """Held to finite differences: a module with the same key meets the same draws again."""
    defended = behind(MODEL, 1, ("grey_mix",))
    x = images().requires_grad_()
    bart.FreshDraws(defended, 3, draws)(x)[:, 1].sum().backward()
    step = torch.zeros_like(x)
    step[:, 2, 3, 4] = 1e-2
    ends = [bart.FreshDraws(defended, 3, draws)(x.detach() + sign * step)[:, 1] for sign in (1, -1)]
    torch.testing.assert_close(x.grad[:, 2, 3, 4], (ends[0] - ends[1]) / 2e-2, rtol=1e-3, atol=1e-4)


def test_the_stack_changes_no_number():
    defended, _ = noisy()
    found = []
    for stack in (1, 3, 64):
        x = images().requires_grad_()
        logits = bart.FreshDraws(defended, 3, draws=4, stack=stack)(x)
        logits[:, 0].sum().backward()
        found.append((logits.detach(), x.grad))
    for logits, gradient in found[:2]:
        torch.testing.assert_close(logits, found[2][0])
        torch.testing.assert_close(gradient, found[2][1])


def test_draws_are_counted_by_what_they_cost():
    defended, _ = noisy()
    model = bart.FreshDraws(defended, draws=2)
    x = images().requires_grad_()
    with torch.no_grad():
        model(x)
    assert model.spent == Cost(0, 8)
    logits = model(x)
    assert model.spent == Cost(0, 16)
    logits.sum().backward(retain_graph=True)
    assert model.spent == Cost(8, 8)
    logits.sum().backward()
    assert model.spent == Cost(16, 8), "a second backward pass is a draw-gradient more, and no forward pass"


def test_logits_of_several_draws_are_their_mean():
    """Against noise of known kind: the mean of many draws of a linear model is near the logits without noise."""
    defended = behind(MODEL, 1, ("color_precision",))
    one = torch.stack([bart.FreshDraws(defended, key)(images()) for key in range(300)])
    many = torch.stack([bart.FreshDraws(defended, 1000 + key, draws=10)(images()) for key in range(300)])
    error = one.std(0) / 300**0.5
    assert ((one.mean(0) - many.mean(0)).abs() < 6 * error + 1e-6).all()
    torch.testing.assert_close(many.var(0), one.var(0) / 10, rtol=0.6, atol=1e-6)


def test_a_frozen_defense_meets_the_draw_that_judges():
    frozen = bart.Defended(noisy()[0].classifier, noisy()[0].defense, frozen=True)
    keys = mirror(1)
    verdict = bart.judge(frozen, (255 * images(1)).round().byte(), keys, 1, 10)
    model = bart.FreshDraws(frozen, int(keys.host[0]))
    logits = model((255 * images(1)).round() / 255)
    assert torch.equal(logits, model((255 * images(1)).round() / 255))
    assert logits.topk(5).indices.tolist() == verdict.top5[:, 0].tolist()
    want = frozen.logits((255 * images(1)).round() / 255, draw_keys.to_judge(keys, 1, True))
    assert torch.equal(logits, want)


def test_it_tells_device_and_mode_as_libraries_ask():
    model = bart.FreshDraws(noisy()[0])
    assert next(model.parameters()).device.type == "cpu" and not model.training
    assert not model.eval().train(False).training
    assert model(images()[:0]).shape[0] == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="0 draws by policy 'combo': expected at least 1"):
        bart.FreshDraws(noisy()[0], draws=0)
    with pytest.raises(ValueError, match="expected at least 1, and one of combo"):
        bart.FreshDraws(noisy()[0], policy="exact")
