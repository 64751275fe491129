"""Define what an attack ascends, one value per row of logits.

An untargeted attack ascends a loss of the label, a targeted one a loss of the target.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from barrage_plugins import Registry


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return -log softmax(z)_y, (n,), from logits (n, classes) and label (n,)."""
    return functional.cross_entropy(logits, label, reduction="none")


def log_odds(logits: Tensor, label: Tensor) -> Tensor:
    """Return log((1 - p_y) / p_y) = log sum_{j != y} exp(z_j) - z_y, (n,), the odds against the label.

    Its gradient is that of cross-entropy divided by 1 - p_y: the same direction, but not 0 where the softmax rounds to 1.
    """
    return _others(logits, label).logsumexp(1) - _of(logits, label)


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return max_{j != y} z_j - z_y, (n,). Source: Carlini and Wagner, S&P 2017."""
    return _others(logits, label).amax(1) - _of(logits, label)


def hinge(logits: Tensor, label: Tensor) -> Tensor:
    """Return min(margin, 0), (n,): what is already wrong has no gradient. Source: Carlini and Wagner, S&P 2017, f6."""
    return margin(logits, label).clamp_max(0)


def dlr(logits: Tensor, label: Tensor) -> Tensor:
    """Return the difference of logits ratio, (max_{j != y} z_j - z_y) / (z_1st - z_3rd), (n,).

    Source: Croce and Hein, ICML 2020, equation 6.
    """
    best = logits.topk(3, dim=1).values
    return margin(logits, label) / (best[:, 0] - best[:, 2]).clamp_min(_LEAST)


def dlr_targeted(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """Return (z_t - z_y) / (z_1st - (z_3rd + z_4th) / 2), (n,). Source: Croce and Hein, ICML 2020, equation 7."""
    best = logits.topk(4, dim=1).values
    return (_of(logits, target) - _of(logits, label)) / (best[:, 0] - best[:, 2:].mean(1)).clamp_min(_LEAST)


_LEAST = 1e-12


def _of(logits: Tensor, label: Tensor) -> Tensor:
    """Return the logit of each row's label, (n,)."""
    return logits.gather(1, label[:, None])[:, 0]


def _others(logits: Tensor, label: Tensor) -> Tensor:
    """Return the logits with those of the labels at -inf."""
    return logits.scatter(1, label[:, None], -torch.inf)


class Loss(NamedTuple):
    """Hold the untargeted and the targeted form of a loss, each to be ascended.

    `classes` is the fewest that it needs, `version` that of its definition, from 1.
    """

    untargeted: Callable[[Tensor, Tensor], Tensor]
    targeted: Callable[[Tensor, Tensor, Tensor], Tensor]
    classes: int = 2
    version: int = 1

    def __call__(self, logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
        """Return the loss (n,) from logits (n, classes), label (n,) and target (n,), which is -1 for an untargeted attack."""
        aimed = target >= 0
        return torch.where(aimed, self.targeted(logits, label, torch.where(aimed, target, 0)), self.untargeted(logits, label))


LOSSES: Registry[Loss] = Registry(
    "loss",
    "losses",
    builtin={
        "ce": Loss(cross_entropy, lambda logits, label, target: -cross_entropy(logits, target)),
        "log_odds": Loss(log_odds, lambda logits, label, target: -log_odds(logits, target)),
        "margin": Loss(margin, lambda logits, label, target: -margin(logits, target)),
        "hinge": Loss(hinge, lambda logits, label, target: margin(logits, target).neg().clamp_max(0)),
        "dlr": Loss(dlr, dlr_targeted, classes=4),
    },
    expected="a bart.Loss",
    accepts=lambda name, thing: isinstance(thing, Loss),
)
"""The losses by the name that a campaign file uses, with those of other packages (`barrage.losses`)."""
