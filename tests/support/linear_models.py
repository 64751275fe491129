"""Build linear models, alone and behind a barrage, whose best attack is known, and run attacks on them."""

import torch
from torch import nn

from bart.classifier import Classifier
from bart.defenses.barrage import Barrage
from bart.defenses.defended import Defended
from bart.rng import Mirror
from tests.support.images import keys, photographs

SIDE, CLASSES = 8, 5
SIZE = 3 * SIDE * SIDE
NO_TARGET = torch.full((4,), -1)
LABEL = torch.tensor([0, 1, 4, 2])
ANY_BARRAGE = ("color_precision", "grey_mix", "grey_partial_mix", "grey_two_thirds", "grey_one_channel")


def linear(classes=CLASSES, seed=0):
    """Return a linear model of the pixels and its weights, (classes, 3, SIDE, SIDE)."""
    weight = torch.randn(classes, SIZE, generator=torch.Generator().manual_seed(seed)) * 0.2
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, classes))
    model[1].weight.data, model[1].bias.data = weight, torch.zeros(classes)
    return model, weight.view(classes, 3, SIDE, SIDE)


def behind(model, k=0, transforms=ANY_BARRAGE):
    """Return the model behind `k` transforms, drawn from `transforms`."""
    return Defended(Classifier(model, (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(k, transforms))


def images(count=4):
    """Return photographs (count, 3, SIDE, SIDE) with black and white pixels, in [0, 1]."""
    return (photographs(SIDE, SIDE, count) * 1.4 - 0.2).clamp(0, 1)


def mirror(count=4, seed=0):
    """Return the random keys of images 0 to count - 1, on the host and on the device."""
    return Mirror.of(keys(count, seed), "cpu")


def run(attack, state, defended, steps, stack=1000):
    """Return the state after `steps` more steps of an attack."""
    for _ in range(steps):
        state = attack.step(state, defended, stack)
    return state


def assert_same(a, b):
    """Assert that two states hold the same tensors, bit for bit."""
    left, right = a.tensors(), b.tensors()
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]), name
