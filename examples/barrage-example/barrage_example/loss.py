"""The logarithm of the odds against the label, or for the target: it has no bound on either side."""

import torch
from torch import Tensor

from bart import Loss


def odds(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of the probability p of the class `wanted` (n,), (n,) from logits (n, classes)."""
    index = wanted[:, None]
    others = logits.scatter(1, index, -torch.inf).logsumexp(1)
    return logits.gather(1, index)[:, 0] - others


ODDS = Loss(lambda logits, label: -odds(logits, label), lambda logits, label, target: odds(logits, target))
