"""Check steps of training against plain loops and closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bart import TRANSFORMS, Ball, Barrage, Eot, Mirror, Pgd, rng
from bart.classifier import Normalised
from bart.defenses.defended import Defended
from bart.training import Augmentation, Average, Lesson, Objective, decayed, evaluating, norms

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def keys(count, name="training"):
    return Mirror.of(torch.tensor([rng.key(name, i) for i in range(count)]), "cpu")


def network():
    torch.manual_seed(3)
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    with torch.no_grad():
        layers[1].running_mean.uniform_(-1, 1)
        layers[1].running_var.uniform_(0.5, 2)
        layers[5].weight.mul_(30)
    return layers


def images(count=4, side=20):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


# --- augmentation


@pytest.mark.parametrize(("margin", "pad", "flip"), [(0, 4, True), (3, 0, False), (2, 3, True)])
def test_windows_are_those_of_numpy_pictures_padded_and_mirrored(margin, pad, flip):
    augment, k = Augmentation(margin, pad, flip), keys(40).host
    x = (255 * images(40, 14)).to(torch.uint8)
    found, side, seen = augment(x, k), 14 - 2 * margin, set()
    assert found.shape == (40, 3, side, side) and found.dtype == torch.uint8
    for picture, window in zip(x.numpy(), found.numpy(), strict=True):
        padded = np.pad(picture, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
        matches = [
            (top, left, mirrored)
            for top in range(2 * (margin + pad) + 1)
            for left in range(2 * (margin + pad) + 1)
            for mirrored in (False, True)
            if np.array_equal(padded[:, top : top + side, left : left + side][:, :, :: -1 if mirrored else 1], window)
        ]
        assert len(matches) == 1
        seen |= set(matches)
    tops, lefts, mirrors = (set(values) for values in zip(*seen, strict=True))
    assert min(tops | lefts) <= 1 and max(tops | lefts) >= 2 * (margin + pad) - 1, "it does not reach the borders"
    assert mirrors == ({False, True} if flip else {False})


def test_a_window_depends_on_its_key_alone():
    augment, k, x = Augmentation(1, 2), keys(6).host, images(6, 12)
    assert torch.equal(augment(x, k)[2:5], augment(x[2:5], k[2:5]))
    assert not torch.equal(augment(x, k), augment(x, keys(6, "other").host))
    assert torch.equal(augment.middle(x), x[:, :, 1:11, 1:11])


# --- the loss


def test_the_objective_is_cross_entropy_with_the_teachers_part_at_its_temperature():
    generator = torch.Generator().manual_seed(1)
    ours, theirs = (3 * torch.randn(5, 7, generator=generator) for _ in range(2))
    label = torch.tensor([0, 6, 2, 2, 5])
    found = Objective(0.1, 0.3, 4.0)(ours, label, theirs)
    for z, t, y, value in zip(ours.tolist(), theirs.tolist(), label.tolist(), found.tolist(), strict=True):

        def softmax(values, temperature=1.0):
            top = [math.exp(v / temperature) for v in values]
            return [v / sum(top) for v in top]

        told = [0.1 / 7 + 0.9 * (i == y) for i in range(7)]
        entropy = -sum(q * math.log(p) for q, p in zip(told, softmax(z), strict=True))
        p, q = softmax(z, 4), softmax(t, 4)
        apart = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        assert value == pytest.approx(0.7 * entropy + 0.3 * 16 * apart, rel=1e-4)
    assert torch.allclose(Objective()(ours, label), nn.functional.cross_entropy(ours, label, reduction="none"))
    assert Objective(0, 1.0)(ours, label, ours).abs().max() < 1e-6


# --- what the network is shown


def test_a_lesson_without_barrage_and_attack_is_the_image():
    x, classifier = images(), Normalised(network(), MEAN, STD)
    assert torch.equal(Lesson(Barrage(0))(classifier, x, torch.zeros(4, dtype=torch.int64), keys(4), 4), x)


def test_a_lesson_through_the_barrage_is_the_barrage_by_the_images_keys():
    x, classifier, barrage = images(), Normalised(network(), MEAN, STD), Barrage(3)
    found = Lesson(barrage)(classifier, x, torch.zeros(4, dtype=torch.int64), keys(4), 4)
    drawn = barrage.draw(keys(4).map(rng.fold, "lesson"), (20, 20))
    assert torch.equal(found, barrage.apply(x, drawn)) and not found.requires_grad


def test_an_adversarial_lesson_is_pgd_on_the_network_in_eval_mode():
    """Compare with a loop of the article: sign of the gradient, projection, from the same start."""
    x, label, ball = images(), torch.tensor([0, 1, 2, 3]), Ball("linf", 8 / 255)
    classifier = Normalised(network(), MEAN, STD).train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    attack = Pgd(ball, 3, 4 / 255, eot=Eot(1))
    found = Lesson(Barrage(0), attack)(classifier, x, label, keys(4), 4)
    assert classifier.training and all(module.training for module in classifier.modules())
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert all(p.grad is None for p in classifier.parameters())
    model = network().eval()
    start = keys(4).map(rng.fold, "attack")
    guess = ball.start(x, rng.fold(start.device, "start"))
    for _ in range(3):
        leaf = guess.clone().requires_grad_()
        normal = (leaf - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(normal), label), leaf)
        guess = (x + (guess + 4 / 255 * gradient.sign() - x).clamp(-8 / 255, 8 / 255)).clamp(0, 1)
    assert torch.allclose(found, guess, atol=1e-6)
    with torch.no_grad():
        loss = [nn.functional.cross_entropy(classifier.eval()(z), label) for z in (x, found)]
    assert loss[1] > loss[0]


def test_an_adversarial_lesson_through_the_barrage_attacks_and_shows_different_draws():
    x, label, names = images(), torch.tensor([0, 1, 2, 3]), ("hsv", "zoom", "gaussian_blur")
    classifier, barrage = Normalised(network(), MEAN, STD), Barrage(2, names)
    attack = Pgd(Ball("linf", 8 / 255), 2, 4 / 255, eot=Eot(3))
    found = Lesson(barrage, attack)(classifier, x, label, keys(4), 12)
    state = attack.start(x, _goal(label), keys(4).map(rng.fold, "attack"))
    classifier.eval()
    for _ in range(2):
        state = attack.step(state, Defended(classifier, barrage), 5)
    assert torch.allclose(found, barrage.apply(state.x, barrage.draw(keys(4).map(rng.fold, "lesson"), (20, 20))), atol=1e-5)
    assert (state.x - x).abs().amax() <= 8 / 255 + 1e-6


def _goal(label):
    from bart import Goal

    return Goal(label, torch.full_like(label, -1))


# --- the network


def test_evaluating_gives_every_module_its_own_mode_back():
    net = network().train()
    net[1].eval()
    with evaluating(net):
        assert not any(module.training for module in net.modules())
    assert net.training and net[0].training and not net[1].training
    assert norms(net) == [net[1]]


def test_weight_decay_is_for_convolutions_and_matrices():
    net = network()
    heavy, light = decayed(net)
    assert {id(p) for p in heavy} == {id(net[0].weight), id(net[5].weight)}
    assert {id(p) for p in light} == {id(p) for p in (net[0].bias, net[1].weight, net[1].bias, net[5].bias)}


def test_the_average_is_exponential_and_replaces_the_weights_within_a_context():
    net = network()
    average, expected = Average(net, 0.75), net[5].weight.detach().clone()
    for step in range(3):
        with torch.no_grad():
            net[5].weight.fill_(step)
            net[1].running_mean.fill_(step)
        average.update()
        expected = 0.75 * expected + 0.25 * step
    with average.used():
        assert torch.allclose(net[5].weight, expected)
        assert not (net[1].running_mean == 2).any(), "running statistics are averaged too"
    assert (net[5].weight == 2).all() and (net[1].running_mean == 2).all()


def test_every_image_meets_a_number_of_transforms_between_the_fewest_and_k():
    """Expect what a barrage of that number would do, bit for bit."""
    x, k = images(60), keys(60)
    names = ("color_precision", "hsv", "grey_mix", "gaussian_blur", "zoom")
    barrage = Barrage(4, names, fewest=0)
    found = barrage.apply(x, barrage.draw(k, (20, 20)))
    number = rng.integers(k.host, "number", 0, 4)
    assert set(number.tolist()) == {0, 1, 2, 3, 4} <= set(range(len(TRANSFORMS)))
    for count in range(5):
        alone = Barrage(count, names)
        some = number == count
        sub = k.map(lambda side, some=some: side[some])
        assert torch.equal(found[some], alone.apply(x[some], alone.draw(sub, (20, 20))))
