"""Losses, one value per row of logits: an untargeted attack ascends the label's, a targeted one descends the target's."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """-log softmax(z)_y, (n,)."""
    return functional.cross_entropy(logits, label, reduction="none")


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y, (n,). Carlini and Wagner, S&P 2017."""
    true = logits.gather(1, label[:, None])[:, 0]
    return logits.scatter(1, label[:, None], -torch.inf).amax(1) - true


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ce": cross_entropy, "margin": margin}
"""Losses by the name that a campaign file uses: (logits (n, classes), label (n,)) -> (n,)."""
