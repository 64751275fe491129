"""Layers that run fast give torch's values and gradients, bit for bit, and are torch's where they cannot be fast."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from bart.cpu_kernels.network import layers, with_fast_layers
from bart.cpu_kernels.network.layers import FastForward
from bart.cpu_kernels.network.padded import Padded
from tests.bart.cpu_kernels.network import native_only


class Same(nn.Conv2d):
    """Pad as TensorFlow does, by the size of the images."""

    def forward(self, x):
        sizes = zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        (top, low), (left, right) = ((m // 2, m - m // 2) for m in (max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in sizes))
        x = functional.pad(x, (left, right, top, low))
        return functional.conv2d(x, self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        Same(3, 16, 3, 2), nn.ReLU6(),
        Same(16, 16, 5, groups=16), nn.SiLU(),
        Same(16, 16, 3, 2, groups=16), nn.Hardswish(),
        nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU(),
        nn.Conv2d(16, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10),
    ).requires_grad_(False).eval()  # fmt: skip


def gradients(model, x, half):
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = model(leaf)
    return logits.detach(), torch.autograd.grad(logits.float().square().sum(), leaf)[0]


@pytest.fixture
def x():
    return torch.rand(3, 3, 21, 18, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("half", [False, pytest.param(True, marks=native_only)])
def test_a_network_has_the_logits_and_the_gradient_that_it_had(x, half):
    model = network().to(memory_format=torch.channels_last)
    fast = with_fast_layers(copy.deepcopy(model))
    (logits, gradient), (ours, own) = gradients(model, x, half), gradients(fast, x, half)
    assert torch.equal(logits, ours)
    torch.testing.assert_close(own, gradient, rtol=2**-7, atol=2**-9 * float(gradient.abs().max()) if half else 0)
    assert torch.equal(own, gradient) or half, "a depthwise convolution with a stride may round a tie the other way"
    assert list(fast.state_dict()) == list(model.state_dict())


class Operations(TorchDispatchMode):
    """List the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("fast", [False, True])
def test_zeros_are_not_written_where_a_convolution_pads_by_itself(x, fast):
    model = nn.Sequential(*[Same(3, 3, k, groups=3) for k in (3, 5)]).requires_grad_(False)
    with Operations() as seen:
        gradients(with_fast_layers(model) if fast else model, x, True)
    assert seen.names.count("convolution") == seen.names.count("convolution_backward") == 2
    assert seen.names.count("constant_pad_nd") == (0 if fast else 4)


def test_weights_are_cast_once_until_they_change(x):
    layer = nn.Linear(18, 2).requires_grad_(False)
    fast = FastForward(layer)
    assert fast.cast(layer.weight) is layer.weight, "nothing is cast without autocast"
    with torch.autocast("cpu", torch.bfloat16):
        first = fast.cast(layer.weight)
        assert first.dtype == torch.bfloat16 and fast.cast(layer.weight) is first
        layer.weight.mul_(2)
        assert torch.equal(fast.cast(layer.weight), layer.weight.bfloat16()), "changed in place"
        layer.weight = nn.Parameter(torch.ones(2, 18), requires_grad=False)
        assert torch.equal(fast.cast(layer.weight), torch.ones(2, 18).bfloat16()), "another weight"
        other = torch.rand(2, 18)
        assert fast.cast(other) is other, "not a weight of this layer: it may be computed anew in every pass"
        layer.weight.requires_grad_()
        assert fast.cast(layer.weight) is layer.weight, "weights that are trained"


def test_copies_have_layers_of_their_own(x):
    fast = with_fast_layers(network())
    before = gradients(fast, x, True)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert all(not module.forward.kept and module.forward.layer is module for module in other if hasattr(module, "weight"))
        assert all(torch.equal(one, two) for one, two in zip(before, gradients(other, x, True), strict=True))
        other[0].weight.zero_()
    assert all(torch.equal(one, two) for one, two in zip(before, gradients(fast, x, True), strict=True))


def test_a_forward_of_its_own_is_left_alone(x):
    layer = nn.Conv2d(3, 3, 1)
    layer.forward = lambda x: x + 1
    assert torch.equal(with_fast_layers(nn.Sequential(layer))(x), x + 1)


@pytest.mark.parametrize("border", [(1, 2, 3, 0), (0, 0, 0, 1), (2, 2, 2, 2)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_padded_images_are_torchs_for_every_operation(x, border, layout):
    leaf = x.contiguous(memory_format=layout).requires_grad_()
    truth, stood = functional.pad(leaf, border), Padded.of(leaf, border)
    assert stood.shape == truth.shape and stood.stride() == truth.stride() and stood.dtype == truth.dtype
    for function in (torch.sum, lambda y: (y * y).mean() + y[0, 0, 0, 0], lambda y: functional.max_pool2d(y, 2).exp().sum()):
        found, expected = function(stood), function(truth)
        assert type(found) is torch.Tensor and torch.equal(found, expected)
        ours, theirs = (torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in (found, expected))
        assert torch.equal(ours, theirs)


class Odd(nn.Conv2d):
    """Do with padded images what no convolution does."""

    def forward(self, x):
        padded = functional.pad(x, (1, 1, 1, 1))
        return functional.conv2d(padded.abs() + padded, self.weight, self.bias) + padded.amax()


def test_other_uses_of_padded_images_see_the_zeros(x):
    torch.manual_seed(0)
    model = nn.Sequential(Odd(3, 4, 3)).requires_grad_(False)
    before = gradients(model, x, False)
    assert all(torch.equal(one, two) for one, two in zip(before, gradients(with_fast_layers(model), x, False), strict=True))


OTHERS = {
    "one side": ((1, 1), "constant", 0),
    "mirrored": ((1, 1, 1, 1), "reflect", None),
    "of another value": ((1, 1, 1, 1), "constant", 2.0),
    "cut": ((-1, 1, 0, 0), "constant", 0),
}


@pytest.mark.parametrize("other", list(OTHERS))
def test_other_padding_is_left_to_torch(x, other):
    assert layers._border(x, *OTHERS[other]) is None


class Changed(nn.Conv2d):
    """Write into padded images, in place and through a view, before the convolution."""

    def forward(self, x):
        x = functional.pad(x, (1, 1, 1, 1))
        x += 1
        x[:, :, 0] = 2
        return super().forward(x)


class Framed(nn.Conv2d):
    """Hand padded images on to the next layer."""

    def forward(self, x):
        return functional.pad(super().forward(x), (1, 1, 1, 1))


@pytest.mark.parametrize(
    "made", [lambda: Changed(3, 4, 3), lambda: nn.Sequential(Framed(3, 4, 3), nn.Hardtanh(0.2, 0.5, True))]
)
def test_padded_images_may_be_written_into(x, made):
    model = made().requires_grad_(False)
    for ours, theirs in zip(gradients(with_fast_layers(copy.deepcopy(model)), x, True), gradients(model, x, True), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_that_are_changed_behind_the_back_of_torch_are_cast_again(x):
    model = nn.Conv2d(3, 4, 3).requires_grad_(False)
    fast = with_fast_layers(copy.deepcopy(model))
    gradients(fast, x, True)
    for change in (lambda w: w.data.mul_(2), lambda w: w.data.copy_(w.flip(0)), lambda w: w.data.copy_(w.flip(3))):
        for layer in (model, fast):
            change(layer.weight)
        assert torch.equal(gradients(fast, x, True)[0], gradients(model, x, True)[0])


def test_no_image_has_a_gradient():
    layer = with_fast_layers(nn.Conv2d(3, 3, 3, 2, 1, groups=3).requires_grad_(False))
    assert gradients(layer, torch.rand(0, 3, 9, 9), True)[1].shape == (0, 3, 9, 9)


def test_functions_of_layers_are_transformed_and_traced(x):
    model = Same(3, 3, 3, 2, groups=3).requires_grad_(False)
    layer = with_fast_layers(copy.deepcopy(model))
    ours, theirs = (torch.func.grad(lambda x, net=net: net(x).square().sum())(x) for net in (layer, model))
    assert torch.equal(ours, theirs)
    assert torch.equal(torch.jit.trace(layer, x.clone().requires_grad_())(x), model(x))
