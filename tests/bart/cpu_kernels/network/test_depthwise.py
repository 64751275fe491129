"""The gradient of strided depthwise convolutions is torch's: of exact sums, rounded once."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import bart
from bart.cpu_kernels.network import depthwise, with_fast_layers
from bart.cpu_kernels.network.depthwise import Depthwise, to_images
from tests.bart.cpu_kernels.network import native_only

SHAPES = {
    "lite0's first": (96, (32, 32), 3, (2, 2), (1, 1)),
    "5 px": (24, (28, 28), 5, (2, 2), (2, 2)),
    "odd sizes": (7, (13, 10), 5, (3, 2), (1, 2)),
    "no padding": (16, (9, 9), 3, (2, 2), (0, 0)),
    "rows and columns that no output sees": (5, (12, 12), 2, (3, 4), (0, 0)),
    "one value": (3, (1, 1), 3, (2, 2), (1, 1)),
    "one stride": (4, (8, 9), 3, (1, 2), (1, 1)),
    "more padding than the filter is wide": (3, (9, 8), 3, (2, 2), (7, 9)),
    "more channels than are summed together": (600, (5, 6), 3, (2, 1), (0, 1)),
}


def made(channels, size, side, stride, padding):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, channels, *size, generator=generator).bfloat16().requires_grad_()
    weight = torch.randn(channels, 1, side, side, generator=generator).bfloat16()
    output = functional.conv2d(x, weight, None, stride, padding, 1, channels)
    return x, weight, output, torch.randn(output.shape, generator=generator).bfloat16()


@pytest.mark.parametrize("shape", list(SHAPES))
def test_it_is_the_exact_gradient_rounded_once(shape):
    channels, size, side, stride, padding = SHAPES[shape]
    x, weight, _, gradient = made(*SHAPES[shape])
    exact = x.detach().double().requires_grad_()
    output = functional.conv2d(exact, weight.double(), None, stride, padding, 1, channels)
    (expected,) = torch.autograd.grad(output, exact, gradient.double())
    found = to_images(gradient, weight, size, stride, padding, padding[1] > 0)
    assert found.dtype == torch.bfloat16 and found.is_contiguous(memory_format=torch.channels_last)
    terms = side * side * gradient.abs().max() * weight.abs().max()  # single precision may miss a tie by its own rounding
    torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=float(terms) * 2**-22)


@native_only
@pytest.mark.parametrize("padding", [(1, 1), (0, 0)])
def test_torchs_own_gradient_has_the_same_bits_but_for_ties(padding):
    x, weight, output, gradient = made(96, (33, 33), 3, (2, 2), padding)
    mine = Depthwise.apply(x, (0, 0, 0, 0), weight, None, (2, 2), padding)
    assert torch.equal(mine, output) and type(mine.grad_fn).__name__ == "DepthwiseBackward"
    theirs, own = (torch.autograd.grad(y, x, gradient)[0] for y in (output, mine))
    assert (theirs != own).float().mean() < 1e-4
    torch.testing.assert_close(own, theirs, rtol=2**-7, atol=0)


def test_the_bits_of_an_image_are_its_own():
    _, weight, _, gradient = made(*SHAPES["5 px"])
    given = (28, 28), (2, 2), (2, 2), True
    together = to_images(gradient, weight, *given)
    rows = [row[None].clone(memory_format=torch.contiguous_format) for row in gradient]
    alone = torch.cat([to_images(row, weight, *given) for row in rows])
    assert torch.equal(together, alone)


def test_nan_and_infinity_stay_visible():
    _, weight, _, gradient = made(*SHAPES["odd sizes"])
    gradient[0, 2], gradient[1, 3], gradient[2] = torch.nan, torch.inf, 3e38
    found = to_images(gradient, weight.abs(), (13, 10), (3, 2), (1, 2), True)
    assert found[0, 2].isnan().any() and not found[0, 1].isnan().any() and found[1, 3].isposinf().any()
    assert found[2].isposinf().any(), "what is more than the largest number is infinite"


class Padded(nn.Conv2d):
    """A class of its own, as libraries have them for padding that is not the same on both sides."""

    def forward(self, x):
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride, 0, 1, self.groups)


class Again(nn.Module):
    """Run layers again in the backward pass."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=False)


@pytest.mark.parametrize("kind", [nn.Conv2d, Padded])
@pytest.mark.parametrize("again", [False, True], ids=["plain", "checkpointed"])
def test_a_network_has_the_gradient_that_it_had(kind, again, monkeypatch):
    torch.manual_seed(0)
    layers = nn.Sequential(kind(8, 8, 3, 2, 1, groups=8), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.Flatten())
    network, x = Again(layers) if again else layers, torch.rand(2, 8, 16, 16)
    calls, gradients, logits = [], [], []
    spread = depthwise.to_images

    def counted(*given):
        calls.append(1)
        return spread(*given)

    monkeypatch.setattr(depthwise, "to_images", counted)
    for folded in (False, True):
        classifier = bart.Classifier(network, (0.5,) * 8, (0.25,) * 8, (16, 16), torch.bfloat16, folded)
        leaf = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(classifier.fast(leaf).square().sum(), leaf)[0])
        logits.append((classifier(x), classifier.fast(x)))
    assert len(calls) == 1, "the second one alone is fast"
    assert all(torch.equal(one, other) for one, other in zip(*logits, strict=True))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=2**-6, atol=2**-6 * float(gradients[0].abs().max()))


def through(x, weight, *more, **named):
    """Return whether a convolution runs as ours."""

    class Convolution(nn.Conv2d):
        def forward(self, x):
            return functional.conv2d(x, self.weight, None, *more, **named)

    layer = Convolution(1, 1, 1)
    layer.weight = nn.Parameter(weight, weight.requires_grad)
    return type(with_fast_layers(layer)(x).grad_fn).__name__ == "DepthwiseBackward"


def test_other_convolutions_are_left_to_torch():
    x = torch.rand(2, 8, 9, 9, requires_grad=True)
    half, weight = x.detach().bfloat16().requires_grad_(), torch.rand(8, 1, 3, 3).bfloat16()
    assert through(half, weight, 2, 1, 1, 8) and through(half, weight, (1, 2), groups=8)
    assert not through(half, weight, 1, 1, 1, 8), "no stride"
    assert not through(half, weight, 2, 1, 2, 8), "dilated"
    assert not through(half, torch.rand(16, 1, 3, 3).bfloat16(), 2, 1, 1, 8), "two filters a channel"
    assert not through(half, torch.rand(4, 4, 3, 3).bfloat16(), 2, 1, 1, 2), "groups of several channels"
    assert not through(half, torch.rand(4, 8, 3, 3).bfloat16(), 2, 1), "no groups"
    assert not through(x, weight.float(), 2, 1, 1, 8), "single precision"
    assert not through(half.detach(), weight, 2, 1, 1, 8), "no gradient is wanted"
    assert not through(half, weight.clone().requires_grad_(), 2, 1, 1, 8), "weights that are trained"
    assert not through(half[0].detach().requires_grad_(), weight, 2, 1, 1, 8), "one image without a batch"
    with torch.no_grad():
        assert not through(half, weight, 2, 1, 1, 8)


def test_there_is_no_second_derivative():
    x = torch.rand(1, 4, 6, 6).bfloat16().requires_grad_()
    y = Depthwise.apply(x, (0, 1, 0, 1), torch.rand(4, 1, 3, 3).bfloat16(), None, (2, 2), (1, 1))
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert not first.requires_grad
