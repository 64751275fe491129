"""Hold noise, dropout and pruning at layers to closed forms, and rows to what they are alone."""

import pytest
import torch
from torch import nn

from bart import Classifier, Defended
from bart.defenses import Dropout, FeatureNoise
from bart.defenses.layers import matching, pruned
from tests.support.contracts.defenses import MUST_FALL, SIZE, assert_falls, coarse, images, mirror

KINDS = {
    "noise before": FeatureNoise(("0", "2"), 0.2),
    "noise behind": FeatureNoise(("0",), 0.2, "output"),
    "relative noise": FeatureNoise(("*",), 0.2, "output", relative=True),
    "noise in weights": FeatureNoise(("0",), 0.2, "weight", relative=True),
    "dropout": Dropout(("0",), 0.3),
    "channels": Dropout(("0",), 0.3, "channels"),
    "pruning": Dropout(("0",), unit="activations"),
}
EVERY = pytest.mark.parametrize("defense", KINDS.values(), ids=KINDS)


def classifier(layers=None):
    torch.manual_seed(0)
    layers = layers or nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
    )
    return Classifier(layers, (0.5,) * 3, (0.25,) * 3, SIZE, folded=False)


def run(defense, net, x, state):
    leaf = x.clone().requires_grad_()
    z = Defended(net, defense).logits(leaf, state)
    return z.detach(), torch.autograd.grad(z.square().sum(), leaf)[0]


@EVERY
def test_a_row_is_its_own_alone_and_in_any_batch(defense):
    net, x, state = classifier(), images(), mirror(5)
    z, slope = run(defense, net, x, state)
    for rows in ([3], [4, 1], [2, 0, 3, 1]):
        own, found = run(defense, net, x[rows], state.map(lambda side, rows=rows: side[rows]))
        assert torch.equal(own, z[rows]) and torch.equal(found, slope[rows])
    assert not torch.equal(run(defense, net, x, mirror(5, seed=1))[0], z)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@EVERY
def test_the_weights_come_back(defense):
    net = classifier()
    before = {name: weight.clone() for name, weight in net.named_parameters()}
    run(defense, net, images(), mirror(5))
    after = dict(net.named_parameters())
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@EVERY
@pytest.mark.parametrize("how", MUST_FALL)
def test_what_must_fall_falls(defense, how):
    first = nn.Conv2d(3, 3, 1) if "weight" in str(defense) else nn.Identity()
    assert_falls(defense, classifier(nn.Sequential(first, nn.Identity(), nn.Identity(), coarse())), how)


def plain(layer):
    """Return a network of one layer whose logits are what the layer returns."""
    return Classifier(nn.Sequential(layer, nn.Flatten()), (0.0,), (1.0,), (1, 50), folded=False)


@pytest.mark.parametrize(("place", "relative", "scale"), [("input", False, 0.3), ("output", False, 0.3), ("output", True, 0.6)])
def test_noise_has_its_deviation(place, relative, scale):
    x = torch.tensor([-2.0, 2.0]).repeat(25).view(1, 1, 1, 50).expand(400, 1, 1, 50)  # of deviation 2
    noise = Defended(plain(nn.Identity()), FeatureNoise(("0",), 0.3, place, relative)).logits(x, mirror(400)) - x.flatten(1)
    assert abs(float(noise.std()) / scale - 1) < 0.02 and abs(float(noise.mean())) < 4 * scale / 20000**0.5


def test_noise_in_weights_is_that_of_the_weights():
    layer = nn.Conv2d(1, 1, 1, bias=False)
    layer.weight.data[:] = 2.0
    found = Defended(plain(layer), FeatureNoise(("0",), 0.3, "weight")).logits(torch.ones(300, 1, 1, 50), mirror(300))
    assert (found == found[:, :1]).all(), "one draw of the weights for an image"
    assert abs(float(found[:, 0].std()) - 0.3) < 0.05 and abs(float(found[:, 0].mean()) - 2) < 0.07


def test_dropout_drops_its_share_and_keeps_the_mean():
    found = Defended(plain(nn.Identity()), Dropout(("0",), 0.3)).logits(torch.ones(400, 1, 1, 50), mirror(400))
    assert abs(float((found == 0).float().mean()) - 0.3) < 0.02 and sorted(set(found.flatten().tolist())) == pytest.approx(
        [0, 1 / 0.7]
    )


def test_pruning_keeps_each_activation_with_the_articles_probability():
    """1 - (1 - p) ^ r, scaled so that the mean is the activation."""
    x = torch.tensor([0.0, 1, -2, 3, 4]).view(1, 1, 1, 5).expand(20000, 1, 1, 5)
    net = Classifier(nn.Sequential(nn.Identity(), nn.Flatten()), (0.0,), (1.0,), (1, 5), folded=False)
    found = Defended(net, Dropout(("0",), unit="activations", samples=0.6)).logits(x, mirror(20000))
    chance = 1 - (1 - torch.tensor([0.0, 1, 2, 3, 4]) / 10) ** 3
    torch.testing.assert_close((found != 0).float().mean(0), chance, atol=0.015, rtol=0)
    torch.testing.assert_close(found.mean(0), x[0].flatten(), atol=0.06, rtol=0)


def test_pruning_of_nothing_is_nothing():
    x = torch.zeros(2, 3, 4, requires_grad=True)
    y = pruned(x, 1.0)
    assert not y.any() and torch.autograd.grad(y.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: matching(classifier(), ("layer9",)), "no layer of the model is called 'layer9': did you mean"),
        (lambda: FeatureNoise(("0",), -1.0), "expected 0 or more"),
        (lambda: FeatureNoise(("0",), 1.0, "front"), "input, output, weight"),
        (lambda: Dropout(("0",), 1.0), "below 1"),
        (lambda: run(FeatureNoise(("1",), 1.0, "weight"), classifier(), images(), mirror(5)), "ReLU has no weights"),
    ],
)
def test_what_cannot_be_is_one_line(make, said):
    with pytest.raises(ValueError, match=said) as error:
        make()
    assert "\n" not in str(error.value)
