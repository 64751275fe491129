"""Losses that an attack ascends, one value per row of logits. `goal` is +1 (leave the label) or -1 (reach the target)."""

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
