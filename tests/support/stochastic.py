"""Modules as strangers bring them that draw random numbers: each by another operation, in front of the same small network."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bart.keyed import Code
from bart.rng import Mirror
from tests.support.images import keys

CLASSES = 10


def network():
    """Return a small convolutional network for images of any size."""
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, CLASSES),
    )
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return layers.requires_grad_(False)


class Before(nn.Module):
    """A function in front of the network; it holds generators of its own."""

    def __init__(self, function, inner=None):
        super().__init__()
        self.function, self.inner = function, inner or network()
        self.numpy, self.python = np.random.default_rng(), random.Random()
        self.torch = torch.Generator()

    def forward(self, x):
        return self.inner(self.function(self, x))


def resized(self, x):
    side = int(torch.randint(20, 33, ()))
    return functional.interpolate(x, (side, side), mode="bilinear")


def shuffled(self, x):
    return x[:, torch.randperm(3)]


def picked(self, x):
    rows = torch.multinomial(x.flatten(1).detach() + 0.01, 5)
    return x * (1 + rows.float().mean(1).view(-1, 1, 1, 1) / 3000)


def checkpointed(self, x):
    x = x + 0.1 * torch.randn_like(x)
    x = checkpoint(lambda y: functional.dropout(y + torch.rand_like(y), 0.3, True).sin(), x, use_reentrant=False)
    return x + 0.1 * torch.randn_like(x)


TOGETHER = {
    "Dropout": lambda self, x: functional.dropout(x, 0.5, True),
    "Dropout2d": lambda self, x: functional.dropout2d(x, 0.5, True),
    "AlphaDropout": lambda self, x: functional.alpha_dropout(x, 0.5, True),
    "FeatureAlphaDropout": lambda self, x: functional.feature_alpha_dropout(x, 0.5, True),
    "randn_like": lambda self, x: (x + 0.1 * torch.randn_like(x)).clamp(0, 1),
    "rand": lambda self, x: x * torch.rand(len(x), 1, 1, 1),
    "a generator of its own": lambda self, x: x * torch.rand(len(x), 1, 1, 1, generator=self.torch),
    "bernoulli": lambda self, x: x * torch.bernoulli(x.detach().clamp(0.2, 0.8)),
    "multinomial": picked,
    "rrelu": lambda self, x: functional.rrelu(x - 0.5, training=True),
    "gumbel_softmax": lambda self, x: functional.gumbel_softmax(4 * x, tau=0.5, dim=1),
    "poisson": lambda self, x: x + torch.poisson(20 * x.detach()) / 20,
    "normal": lambda self, x: torch.normal(torch.zeros_like(x), 0.1) + x,
    "a checkpointed part": checkpointed,
}
"""Functions whose operations draw a row for each image."""

BY_ROW = {
    "randperm": shuffled,
    "random interpolate": resized,
    "Python's generator": lambda self, x: x * random.uniform(0.5, 1),
    "NumPy's generator": lambda self, x: x + torch.from_numpy(np.random.normal(0, 0.1, x.shape[1:])).float(),
    "a Python generator of its own": lambda self, x: x * self.python.random(),
    "a NumPy generator of its own": lambda self, x: x * float(self.numpy.random()),
}
"""Functions that draw once for all images."""


class Lucky(nn.Module):
    """Answer right in four draws of five, whatever the image: the class is its mean, and every fifth draw is moved by one."""

    def __init__(self, wrong=0.2):
        super().__init__()
        self.wrong = wrong

    def forward(self, x):
        level = (x.mean((1, 2, 3)) * (CLASSES - 1)).round()
        moved = (level + (torch.rand(len(x), device=x.device) < self.wrong)) % CLASSES
        classes = torch.arange(CLASSES, device=x.device)
        return -(classes - moved[:, None]).abs() + 0 * x.mean((1, 2, 3))[:, None]


def lucky():
    return Lucky()


lucky.preprocessing = {"mean": [0, 0, 0], "std": [1, 1, 1]}  # type: ignore[attr-defined]


def noisy_network():
    return Before(lambda self, x: functional.dropout2d(x, 0.05, True) + 0.05 * torch.randn_like(x))


noisy_network.preprocessing = lucky.preprocessing  # type: ignore[attr-defined]


def noise():
    return Noise()


class Denoiser(nn.Module):
    """A denoiser of the simplest kind: a share of what it gets is noise."""

    def forward(self, x, times):
        return 0.3 * x


def denoiser():
    return Denoiser()


class Noise(nn.Module):
    """Noise on images, clamped, as a user writes it."""

    def forward(self, x):
        return (x + 0.1 * torch.randn_like(x)).clamp(0, 1)


def unknown():
    return Unknown()


class Unknown(nn.Module):
    """It draws by an operation of its own, which it marks as random."""

    def forward(self, x):
        return torch.ops.strangers.shake(x)


def unseen():
    return Unseen()


class Unseen(nn.Module):
    """It draws from the operating system, which no key can decide."""

    def forward(self, x):
        return x + 0.1 * random.SystemRandom().random()


def dimmed():
    return Dimmed()


class Dimmed(nn.Module):
    """It draws from Python's generator, once for all images."""

    def forward(self, x):
        return x * random.uniform(0.5, 1)


LIBRARY = torch.library.Library("strangers", "DEF")
LIBRARY.define("shake(Tensor x) -> Tensor", tags=[torch.Tag.nondeterministic_seeded])
LIBRARY.impl("shake", lambda x: x + torch.empty_like(x).uniform_(), "CPU")


def images(count=6):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def mirror(count=6, seed=0):
    return Mirror.of(keys(count, seed), "cpu")


def run(keyed, module, x, state):
    """Return logits and the gradient of a mix of them in the images."""
    leaf = x.clone().requires_grad_()
    z = keyed(Code(module, (module,)), leaf, state)
    (slope,) = torch.autograd.grad((z * torch.linspace(1, 2, z.shape[1])).sum(), leaf)
    return z.detach(), slope
