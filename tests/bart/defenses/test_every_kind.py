"""Hold every built-in defense to what campaigns need of it."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from bart import Ball, Classifier, Defended, Eot, Goal, Pgd, Transfer, rng
from bart.bpda import POLICIES, combo
from bart.defenses import Compose, Dropout, FeatureNoise, Gaussian, Preprocessor, RandomModel, Undefended
from bart.gradient import gradient
from bart.rng import Mirror
from tests.support.contracts.defenses import CLASSES, MUST_FALL, SIZE, assert_falls, coarse, images, mirror
from tests.support.defenses import CONSTANT, RANDOM

EVERY = pytest.mark.parametrize("defense", [*RANDOM.values(), *CONSTANT.values()], ids=[*RANDOM, *CONSTANT])
EVERY_RANDOM = pytest.mark.parametrize("defense", RANDOM.values(), ids=RANDOM)


def network():
    """Return a small convolutional network for images of any size."""
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES)
    )
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return layers


def classifier(model=None):
    return Classifier(model or network(), (0.5,) * 3, (0.25,) * 3, SIZE)


def watching(seen):
    """Return a classifier of two classes that notes the images that it gets."""

    def classifier(y):
        seen.append(y)
        return torch.zeros(len(y), 2)

    return classifier


def logits(defense, x, state, policy=combo):
    return defense.logits(classifier(), x, defense.draw(state, SIZE), policy)


@EVERY
def test_a_row_is_the_same_alone_and_in_any_batch(defense):
    """Logits and gradients: the images that a preprocessor makes bit for bit, the network's numbers up to its rounding."""
    x, state, net = images(), mirror(5), classifier()
    leaf = x.clone().requires_grad_()
    z = defense.logits(net, leaf, defense.draw(state, SIZE))
    (slope,) = torch.autograd.grad(z.square().sum(), leaf)
    for rows in ([3], [4, 1], [2, 0, 3, 1]):
        few = state.map(lambda side, rows=rows: side[rows])
        part = x[rows].clone().requires_grad_()
        drawn = defense.draw(few, SIZE)
        if isinstance(defense, Preprocessor):
            assert torch.equal(defense.apply(part, drawn), defense.apply(x, defense.draw(state, SIZE))[rows])
        own = defense.logits(net, part, drawn)
        torch.testing.assert_close(own, z[rows], rtol=1e-4, atol=1e-5)
        (found,) = torch.autograd.grad(own.square().sum(), part)
        torch.testing.assert_close(found, slope[rows], rtol=1e-3, atol=1e-5 * float(slope.abs().max()))


@EVERY
def test_it_is_a_function_of_its_keys(defense):
    x = images()
    with torch.random.fork_rng():
        first = logits(defense, x, mirror(5))
        torch.manual_seed(99)
        assert torch.equal(logits(defense, x, mirror(5)), first)


@EVERY
def test_it_says_whether_its_draws_differ(defense):
    one = images(1).expand(40, -1, -1, -1)
    found = logits(defense, one, mirror(40))
    assert (len({tuple(row) for row in found.round(decimals=4).tolist()}) > 1) is defense.random


@EVERY
def test_hardly_a_pixel_is_without_gradient_in_every_draw(defense):
    x = (images(1) * 0.6 + 0.2).repeat(40, 1, 1, 1).requires_grad_()
    z = defense.logits(classifier(coarse()), x, defense.draw(mirror(40), SIZE))
    (slope,) = torch.autograd.grad(z[:, 0].sum(), x)
    assert slope.isfinite().all() and (slope.sum(0) == 0).float().mean() < 0.01  # few crops have a corner


@EVERY
@pytest.mark.parametrize("policy", ["combo", "identity"])
def test_a_policy_changes_no_logit(defense, policy):
    x = images()
    torch.testing.assert_close(logits(defense, x, mirror(5), POLICIES[policy]), logits(defense, x, mirror(5)), rtol=0, atol=0)


@EVERY
def test_the_classifier_gets_images_of_the_size_that_it_says(defense):
    seen = []
    defense.logits(watching(seen), images(), defense.draw(mirror(5), SIZE))
    assert seen[0].shape[1:] == (3, *defense.size_after(SIZE))


@EVERY_RANDOM
def test_parts_are_of_the_choices_and_met_counts_them(defense):
    state = mirror(60)
    met = defense.met(state, SIZE)
    assert met.shape == (60, len(defense.choices)) and met.dtype is torch.bool
    if defense.choices:
        parts = defense.parts(defense.draw(state, SIZE))
        assert [sorted(names) for names in parts] == [
            sorted(name for name, here in zip(defense.choices, row, strict=True) if here) for row in met.tolist()
        ]
        assert met.any(0).all(), "a choice that no draw makes"


@EVERY
def test_its_stages_end_with_what_the_classifier_gets(defense):
    x, state = images(1), mirror(1)
    seen = []
    drawn = defense.draw(state, SIZE)
    defense.logits(watching(seen), x, drawn)
    stages = list(defense.stages(x, drawn))
    assert all(name and picture.shape[:2] == (1, 3) for name, picture in stages)
    if stages:
        torch.testing.assert_close(stages[-1][1], seen[-1][-1:])
    else:
        assert torch.equal(seen[-1], x)


@EVERY
def test_what_it_is_made_of_are_its_stages_with_plain_settings(defense):
    drawn = defense.draw(mirror(1), SIZE)
    made = defense.made_of(drawn)
    assert [stage.name for stage in made] == [name for name, _ in defense.stages(images(1), drawn)]
    assert json.loads(json.dumps([stage.settings for stage in made])) == [stage.settings for stage in made]


@EVERY
def test_what_is_seen_is_what_a_classifier_gets(defense):
    x, drawn, got = images(1), defense.draw(mirror(1), SIZE), []
    seen = defense.seen(x, drawn)
    defense.logits(watching(got), x, drawn)
    assert torch.equal(seen, got[-1][: len(seen)]) and torch.equal(seen[-1:].expand_as(got[-1])[-1], got[-1][-1])


@pytest.mark.parametrize("inside", [FeatureNoise(("0",), 0.1), Dropout(("0",)), RandomModel()])
def test_the_classifier_of_a_defense_inside_it_gets_the_image_as_it_is(inside):
    x, noise = images(1), Gaussian(0.05)
    assert inside.seen(x, inside.draw(mirror(1), SIZE)) is None and not inside.made_of(inside.draw(mirror(1), SIZE))
    both = Compose((noise, inside))
    drawn = both.draw(mirror(1), SIZE)
    assert torch.equal(both.seen(x, drawn), noise.apply(x, drawn[0])) and Compose((inside,)).seen(x, [drawn[1]]) is None


@EVERY
def test_its_attack_follows_the_gradient_of_the_written_out_expectation(defense):
    """The mean over draws, each computed alone from its key."""
    x, goal, net = images(2), Goal(torch.tensor([0, 1]), torch.tensor([-1, -1])), classifier()
    defended, state = Defended(net, defense), mirror(2)
    found, _ = gradient(defended, x, goal, state, Eot(3), stack=2)
    for i in range(2):
        leaf = x[i : i + 1].clone().requires_grad_()
        every = rng.fold(state.host[i : i + 1, None], torch.arange(3)).flatten() & ~(1 << 32)
        z = torch.cat([defense.logits(net, leaf, defense.draw(Mirror.of(every[d : d + 1], "cpu"), SIZE)) for d in range(3)])
        loss = nn.functional.cross_entropy(z, goal.label[i : i + 1].expand(3))
        (slope,) = torch.autograd.grad(loss, leaf)
        torch.testing.assert_close(found[i], slope[0], rtol=1e-3, atol=1e-4 * float(slope.abs().max()))


@EVERY
@pytest.mark.parametrize("how", MUST_FALL)
def test_what_must_fall_falls(defense, how):
    assert_falls(defense, classifier(coarse()), how)


@EVERY
def test_a_transfer_meets_no_part_of_it(defense):
    class Refuses(type(defense)):
        def draw(self, *arguments):
            raise AssertionError("the defense was asked")

    object.__setattr__(told := replace(defense), "__class__", Refuses)
    goal = Goal(torch.tensor([0, 1]), torch.tensor([-1, -1]))
    attack = Transfer(Pgd(Ball("linf", 8 / 255), 1, 2 / 255, True, Eot(1)))
    attack.step(attack.start(images(2), goal, mirror(2)), Defended(classifier(), told), 4)
    assert isinstance(told.undefended(), Undefended)
