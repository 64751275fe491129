"""The verdict: fresh draws judge the image as it is stored, in the model's own precision, by rules that are stated."""

from typing import NamedTuple

import torch
from torch import Tensor

from bart import rng
from bart.defenses.defended import Defended
from bart.gradient import Goal, forward_draws


class Verdict(NamedTuple):
    """The five likeliest classes, best first: `top5` of each draw (n, draws, 5), `mean_top5` of the draws' mean
    probability (n, 5). int64; -1 where a model has fewer than five classes."""

    top5: Tensor
    mean_top5: Tensor


def _top5(scores: Tensor) -> Tensor:
    best = scores.topk(min(5, scores.shape[-1]), dim=-1).indices
    return torch.nn.functional.pad(best, (0, 5 - best.shape[-1]), value=-1)


@torch.no_grad()
def judge(defended: Defended, stored: Tensor, keys: rng.Mirror, draws: int, stack: int) -> Verdict:
    """Judges 8-bit images `stored` (n, 3, h, w) uint8 by `draws` draws each, keyed apart from every attack's."""
    keys = defended.keys(keys, "evaluation")
    top5, probabilities = [], torch.zeros(0, device=stored.device)
    for _, of, logits in forward_draws(defended, stored.float() / 255, keys, draws, stack, fast=False):
        if of.start == 0:
            top5.append(_top5(logits))
            probabilities = torch.cat([probabilities, logits.softmax(2).sum(1)])
        else:  # more draws of the last image
            top5[-1] = torch.cat([top5[-1], _top5(logits)], dim=1)
            probabilities[-1] += logits.softmax(2).sum(1)[0]
    return Verdict(torch.cat(top5), _top5(probabilities))


@torch.no_grad()
def broken(defended: Defended, stored: Tensor, goal: Goal, keys: rng.Mirror, draws: int, stack: int) -> Tensor:
    """Which 8-bit images are won in every one of `draws` draws, (n,) bool: the target first, or anything but the label."""
    won = torch.ones(len(stored), dtype=torch.bool, device=stored.device)
    for some, _, logits in forward_draws(defended, stored.float() / 255, keys, draws, stack, fast=False):
        first, (label, target) = logits.argmax(2), goal.of(some)
        won[some] &= torch.where(target[:, None] >= 0, first == target[:, None], first != label[:, None]).all(1)
    return won
