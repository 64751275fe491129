"""Hold modules of strangers to it: an image's logits and gradient are its own, alone, in any batch, and in any run."""

import random

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from bart.keyed import Code, Keyed
from tests.support.stochastic import BY_ROW, TOGETHER, Before, images, mirror, run


def droppath():
    """A vision transformer of timm whose drop-path and attention dropout stay on."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=10, drop_path_rate=0.5, attn_drop_rate=0.1
    ).eval()
    for module in model.modules():
        if "Drop" in type(module).__name__:
            module.train()
    return model.requires_grad_(False)


MODULES = {name: (lambda function=function: Before(function)) for name, function in {**TOGETHER, **BY_ROW}.items()}
MODULES["drop-path of timm"] = droppath
EVERY = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


@EVERY
def test_a_row_is_its_own_alone_and_in_any_batch(make):
    module, x, state = make(), images(), mirror()
    z, slope = run(Keyed(), module, x, state)
    assert (slope.flatten(1) != 0).any(1).sum() > 1  # all channels of an image may be dropped
    for rows in ([0], [3], [5, 2], [1, 2, 3], [4, 0, 5, 1, 3]):
        own, found = run(Keyed(), module, x[rows], state.map(lambda side, rows=rows: side[rows]))
        assert torch.equal(own, z[rows]) and torch.equal(found, slope[rows])


@EVERY
def test_its_numbers_follow_from_the_keys_and_from_nothing_else(make):
    module, x = make(), images()
    z, slope = run(Keyed(), module, x, mirror())
    with torch.random.fork_rng():
        torch.manual_seed(99)
        again, found = run(Keyed(), make(), x, mirror())
    assert torch.equal(again, z) and torch.equal(found, slope)
    other, _ = run(Keyed(), module, x, mirror(seed=1))
    assert (other != z).any(1).float().mean() > 0.5  # whole paths are dropped alike now and then


@EVERY
def test_the_gradient_is_that_of_the_draw(make):
    """It equals the one without autograd's help, along a direction: the difference of two logits from the same keys."""
    module, x, state = make().double(), images(2).double() * 0.8 + 0.1, mirror(2)
    keyed, weights = Keyed(), torch.linspace(1, 2, 10, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad((keyed(Code(module, (module,)), leaf, state) * weights).sum(), leaf)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1e-7
    with torch.no_grad():
        up, down = ((keyed(Code(module, (module,)), x + side * way, state) * weights).sum() for side in (1, -1))
    torch.testing.assert_close((slope * way).sum(), (up - down) / 2, rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize("name", [*TOGETHER, *BY_ROW])
def test_what_draws_once_for_all_images_is_found(name):
    module = Before({**TOGETHER, **BY_ROW}[name])
    habits = Keyed().habits(Code(module, (module,)), images(1))
    assert habits.draws and bool(habits.by_row) == (name in BY_ROW)
    assert habits.again == (name == "a checkpointed part")


def test_a_size_that_is_the_number_of_images_by_chance_is_no_batch():
    """Noise for each of three channels: with three images it would pass for noise for each image."""
    module = Before(lambda self, x: x + torch.randn(3, 1, 1))
    assert "(3, 1, 1)" in Keyed().habits(Code(module, (module,)), images(1)).by_row


def test_all_generators_come_back_as_they_were():
    modules = [Before(function) for function in (*TOGETHER.values(), *BY_ROW.values())]
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    for module in modules:
        run(Keyed(), module, images(2), mirror(2))
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()


def test_a_planted_share_of_wrong_draws_is_found():
    module = Before(lambda self, x: x, nn.Identity())
    module.function = lambda self, x: (torch.rand(len(x)) < 0.2).float()[:, None]
    state = mirror(20000)
    found = Keyed()(Code(module, (module,)), torch.zeros(20000, 3, 1, 1), state).mean()
    assert abs(float(found) - 0.2) < 4 * (0.16 / 20000) ** 0.5


def test_a_network_behind_batch_norm_draws_inside():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.ReLU(), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(3600, 10))
    module = Before(lambda self, x: functional.dropout(x, 0.1, True), layers.requires_grad_(False))
    z, _ = run(Keyed(), module, images(), mirror())
    own, _ = run(Keyed(), module, images()[2:3], mirror().map(lambda side: side[2:3]))
    assert torch.equal(own, z[2:3])
