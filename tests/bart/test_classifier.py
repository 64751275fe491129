import copy

import pytest
import torch
from torch import nn

from bart import rng
from bart.bpda.policies import identity
from bart.classifier import Classifier, fold_batch_norm, native_half
from bart.defenses.barrage import Barrage
from bart.defenses.defended import Defended
from bart.rng import Mirror
from tests.support.images import keys, photographs

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = (20, 24)


def shaken(model, seed=0):
    """Return the network with random weights, running statistics and affine parameters, as after training; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                if values is not None:
                    values.data = torch.rand(values.shape, generator=generator) * 2 + 0.2
            for values in (module.bias, module.running_mean):
                if values is not None:
                    values.data = torch.randn(values.shape, generator=generator)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * 0.3
    return model.eval()


def head(channels, classes=7):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def chain():
    """Return every kind of pair that folds: with and without bias, strided, grouped, dilated, BatchNorm without parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),
        nn.BatchNorm2d(8, eps=1e-3),
        nn.SiLU(),
        nn.Conv2d(8, 6, 3, dilation=2, padding=2),
        nn.BatchNorm2d(6, affine=False),
        head(6),
    )


class Residual(nn.Module):
    """Chain two blocks that share nothing, defined in another order than they are executed."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(3)])
        self.last = nn.Conv2d(8, 8, 1)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.skip = nn.Conv2d(3, 8, 1)
        self.head = head(8)

    def forward(self, x):
        y = self.norms[2](self.first(x)).relu()
        return self.head(self.norms[0](self.last(y)) + self.norms[1](self.skip(x)))


class UsedTwice(nn.Module):
    """Use the output of the convolution also before BatchNorm: it must not be folded."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), head(8)

    def forward(self, x):
        y = self.conv(x)
        return self.head(self.norm(y).relu() + y)


class SharedConvolution(nn.Module):
    """Feed one convolution to two BatchNorms."""

    def __init__(self):
        super().__init__()
        self.conv, self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8), head(8)

    def forward(self, x):
        return self.head(self.a(self.conv(x)).relu() - self.b(self.conv(x.flip(3))).relu())


class PreActivation(nn.Module):
    """Put BatchNorm before the convolution, and after an activation in place: nothing to fold."""

    def __init__(self):
        super().__init__()
        self.conv, self.before, self.after, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(8), head(8)

    def forward(self, x):
        return self.head(self.after(torch.relu_(self.conv(self.before(x)))))


FOLDED = {chain: 3, Residual: 3}
KEPT = {UsedTwice: 1, SharedConvolution: 2, PreActivation: 2}


def norms(model):
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def images(dtype=torch.double):
    return torch.randn(5, 3, *SIZE, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("make", list(FOLDED))
def test_a_folded_network_has_the_same_logits_and_no_batch_norm(make):
    model = shaken(make()).double()
    before = model(images()).detach()
    assert norms(model) == FOLDED[make]
    folded = fold_batch_norm(copy.deepcopy(model).requires_grad_(False), SIZE)
    assert norms(folded) == 0
    torch.testing.assert_close(folded(images()), before, rtol=1e-12, atol=1e-12 * before.abs().max().item())
    assert not any(p.requires_grad for p in folded.parameters())


@pytest.mark.parametrize("make", list(KEPT))
def test_a_network_that_cannot_be_folded_keeps_its_logits(make):
    model = shaken(make()).double().requires_grad_(False)
    before = model(images())
    kept = fold_batch_norm(copy.deepcopy(model), SIZE)
    torch.testing.assert_close(kept(images()), before, rtol=1e-12, atol=0)
    assert norms(kept) == KEPT[make]


def test_a_fold_that_goes_unnoticed_on_one_probe_would_be_seen_here():
    """Try twenty random networks of each kind, each with its own statistics, on images other than the probe."""
    for make in (*FOLDED, *KEPT):
        for seed in range(20):
            model = shaken(make(), seed).double().requires_grad_(False)
            before = model(images())
            after = fold_batch_norm(copy.deepcopy(model), SIZE)(images())
            assert (after - before).abs().max() < 1e-10 * before.abs().max()


def test_no_hook_stays_behind():
    classifier = Classifier(shaken(chain()), MEAN, STD, SIZE)
    assert not any(m._forward_hooks for m in classifier.modules())


@pytest.mark.parametrize("make", [*FOLDED, *KEPT])
def test_the_classifier_is_the_plain_model_after_normalisation(make):
    """Compare logits and input gradient, in single precision."""
    model, x = shaken(make()), photographs(*SIZE)
    weight = torch.randn(4, 7, generator=torch.Generator().manual_seed(2))
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    plain = model((leaves[0] - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
    ours = Classifier(model, MEAN, STD, SIZE)(leaves[1])
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5 * plain.abs().max().item())
    truth, found = (torch.autograd.grad((y * weight).sum(), leaf)[0] for y, leaf in zip((plain, ours), leaves, strict=True))
    assert truth.abs().max() > 1e-4
    torch.testing.assert_close(found, truth, rtol=1e-3, atol=1e-5 * truth.abs().max().item())


def test_the_callers_model_is_left_as_it_was():
    model = chain().train()
    names = {name: (value.clone(), value.data_ptr()) for name, value in model.state_dict().items()}
    classifier = Classifier(model, MEAN, STD, SIZE)
    classifier(photographs(*SIZE))
    assert model.training and all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert norms(model) == 3 and not any(m._forward_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, names[name][0]) and value.data_ptr() == names[name][1], name
    mine = {p.data_ptr() for p in classifier.parameters()}
    assert not mine & {p.data_ptr() for p in model.parameters()}


def test_all_is_frozen_and_in_eval_mode_and_stays_so():
    model = nn.Sequential(chain(), nn.Dropout(0.5)).train()
    classifier = Classifier(model, MEAN, STD, SIZE)
    x = photographs(*SIZE)
    assert not any(p.requires_grad for p in classifier.parameters())
    with pytest.raises(ValueError, match="only evaluated"):
        classifier.train()
    assert classifier.eval() is classifier and classifier.train(False) is classifier
    assert not any(m.training for m in classifier.modules())
    assert torch.equal(classifier(x), classifier(x))


@pytest.mark.parametrize("make", [*FOLDED, *KEPT])
def test_an_images_logits_do_not_depend_on_its_batch(make):
    classifier, x = Classifier(shaken(make()), MEAN, STD, SIZE), photographs(*SIZE)
    together = classifier(x)
    alone = torch.cat([classifier(image[None]) for image in x])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5 * together.abs().max().item())


def test_a_model_without_parameters_is_taken_as_it_is():
    model = nn.Flatten()
    x = photographs(*SIZE)
    truth = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(Classifier(model, MEAN, STD, SIZE)(x), truth.flatten(1), rtol=1e-6, atol=1e-6)


def test_only_the_fast_pass_uses_the_lower_precision():
    model, x = shaken(chain()), photographs(*SIZE)
    full, half = (Classifier(model, MEAN, STD, SIZE, autocast) for autocast in (None, torch.bfloat16))
    assert torch.equal(half(x), full(x)) and torch.equal(full.fast(x), full(x))
    rounded = half.fast(x)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, half(x))
    torch.testing.assert_close(rounded, full(x), rtol=0.1, atol=0.05 * full(x).abs().max().item())


def test_a_defended_classifier_reads_the_image_behind_its_barrage():
    names = ("color_precision", "grey_partial_mix")
    classifier, x = Classifier(shaken(chain()), MEAN, STD, SIZE, torch.bfloat16), photographs(*SIZE)
    barrage, state = Barrage(2, names), Mirror.of(keys(4), "cpu")
    order = Mirror.of(rng.fold(keys(4), "order"), "cpu")
    defended = Defended(classifier, barrage)
    for order_keys in (None, order):
        behind = barrage.apply(x, barrage.draw(state, SIZE, order_keys))
        assert torch.equal(defended.logits(x, state, order_keys=order_keys), classifier(behind))
        assert torch.equal(defended.logits(x, state, order_keys=order_keys, fast=True), classifier.fast(behind))
    leaf = (x * 0.6 + 0.2).requires_grad_()
    (found,) = torch.autograd.grad(defended.logits(leaf, state, identity).sum(), leaf)
    inner = barrage.apply(leaf.detach(), barrage.draw(state, SIZE)).requires_grad_()
    (truth,) = torch.autograd.grad(classifier(inner).sum(), inner)
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-7)


def test_native_half_of_a_cpu_is_bfloat16_or_none():
    assert native_half(torch.device("cpu")) in (None, torch.bfloat16)
