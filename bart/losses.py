"""What an attack ascends, one value per row of logits: a loss of the label where it is untargeted, else one of the target."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from barrage_plugins import Registry


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """-log softmax(z)_y, (n,)."""
    return functional.cross_entropy(logits, label, reduction="none")


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y, (n,). Carlini and Wagner, S&P 2017."""
    return _others(logits, label).amax(1) - _of(logits, label)


def dlr(logits: Tensor, label: Tensor) -> Tensor:
    """The difference of logits ratio (max_{j != y} z_j - z_y) / (z_1st - z_3rd), (n,). Croce and Hein, ICML 2020, eq. 6."""
    best = logits.topk(3, dim=1).values
    return margin(logits, label) / (best[:, 0] - best[:, 2]).clamp_min(_LEAST)


def dlr_targeted(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """(z_t - z_y) / (z_1st - (z_3rd + z_4th) / 2), (n,). Croce and Hein, ICML 2020, eq. 7."""
    best = logits.topk(4, dim=1).values
    return (_of(logits, target) - _of(logits, label)) / (best[:, 0] - best[:, 2:].mean(1)).clamp_min(_LEAST)


_LEAST = 1e-12


def _of(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, label[:, None])[:, 0]


def _others(logits: Tensor, label: Tensor) -> Tensor:
    return logits.scatter(1, label[:, None], -torch.inf)


class Loss(NamedTuple):
    """Both faces of a loss, each to be ascended; `classes` is the least number that it needs, `version` its definition's."""

    untargeted: Callable[[Tensor, Tensor], Tensor]
    targeted: Callable[[Tensor, Tensor, Tensor], Tensor]
    classes: int = 2
    version: int = 1

    def __call__(self, logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
        """(n,) from logits (n, classes), label (n,) and target (n,), which is -1 where the attack is untargeted."""
        aimed = target >= 0
        return torch.where(aimed, self.targeted(logits, label, torch.where(aimed, target, 0)), self.untargeted(logits, label))


LOSSES: Registry[Loss] = Registry(
    "loss",
    "losses",
    builtin={
        "ce": Loss(cross_entropy, lambda logits, label, target: -cross_entropy(logits, target)),
        "margin": Loss(margin, lambda logits, label, target: -margin(logits, target)),
        "dlr": Loss(dlr, dlr_targeted, classes=4),
    },
    expected="a bart.Loss",
    accepts=lambda name, thing: isinstance(thing, Loss),
)
"""The losses by the name that a campaign file uses, with those of other packages (`barrage.losses`)."""
