"""Hold any defense to what must fall: without it, with its draw frozen, and with a known weakness in front."""

import torch
from torch import nn

from bart import Ball, Defended, Eot, Goal, Pgd, judge
from bart.diagnostics import PlantedWeakness
from bart.rng import Mirror
from tests.support.images import keys, photographs

SIZE = (20, 24)
CLASSES = 4
MUST_FALL = ("undefended", "frozen", "planted")


def mirror(count, seed=0):
    return Mirror.of(keys(count, seed), "cpu")


def images(count=5):
    four = photographs(*SIZE, 4)
    return torch.cat([four, four.flip(3)])[:count]


def coarse():
    """Return a linear model of the mean colours of 16 parts of an image, for images of any size."""
    layers = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, CLASSES))
    with torch.no_grad():
        layers[2].weight.copy_(torch.randn(CLASSES, 48, generator=torch.Generator().manual_seed(1)) * 0.2)
        layers[2].bias.zero_()
    return layers


def assert_falls(defense, net, how):
    """Attack the undefended model, one draw that never changes, or a weakness in front of any draw: nothing may be left."""
    x = images(4)
    label = net(x).argmax(1)
    eps, draws = 1.0 if how != "planted" else 8 / 255, 1 if how == "frozen" else 2
    goal, attack = Goal(label, torch.full_like(label, -1)), Pgd(Ball("linf", eps), 10, eps / 4, False, Eot(draws), 0.9)
    defended = {
        "undefended": Defended(net, defense.undefended()),
        "frozen": Defended(net, defense, frozen=True),
        "planted": PlantedWeakness(net, defense),
    }[how]
    state = attack.start(x, goal, mirror(4))
    for _ in range(attack.steps):
        state = attack.step(state, defended, stack=64)
    stored = attack.ball.store(attack.result(state), x)
    verdict = judge(defended, stored, mirror(4) if how == "frozen" else mirror(4, seed=5), draws, stack=64)
    assert not (verdict.top5[:, :, 0] == label[:, None]).any()
