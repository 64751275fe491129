"""Functions that stand for attacks of other libraries, as campaigns name them."""

import torch

NAME = "tests.support.foreign:stepped"
NEEDED = {"external": {"function": NAME}, "examples": {"path": "adv.npz"}, "certify": {"draws": 200}}
"""The keys that a kind of attack cannot do without, besides those that all have."""


def stepped(model, x, y, steps=2, size=0.02):
    """Follow the sign of the gradient, from a random start."""
    adv = (x + size * torch.empty_like(x).uniform_(-1, 1)).clamp(0, 1)
    for _ in range(steps):
        adv.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(adv), y, reduction="sum"), adv)
        adv = (adv + size * gradient.sign()).detach()
    return adv


def raises(model, x, y):
    """Fail for every image."""
    raise KeyError("no\nsuch layer")


def raises_for_some(model, x, y):
    """Fail for images of class 2."""
    if (y == 2).any():
        raise ValueError("too hard")
    return x


def lonely(model, x):
    """Take too few arguments."""
    return x
