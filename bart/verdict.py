"""Judge images as they are stored, on fresh draws and in the model's own precision."""

from typing import NamedTuple

import torch
from torch import Tensor

from bart import draw_keys, rng
from bart.defenses import Defended
from bart.gradient import Goal, forward_draws


class Verdict(NamedTuple):
    """Hold the five likeliest classes, best first, int64; -1 if a model has fewer than five classes, or none of them is
    likeliest as a logit is NaN or infinite: that is no answer, so never the right one.

    top5        of each draw, (n, draws, 5)
    mean_top5   of the draws' mean probability, (n, 5)
    mean        the draws' mean probability, (n, classes) float32; NaN where a logit is not finite
    """

    top5: Tensor
    mean_top5: Tensor
    mean: Tensor

    def margin(self, label: Tensor) -> Tensor:
        """Return by how much the mean probability of the class `label` (n,) is above that of the next best, (n,) float64 in
        [-1, 1]; NaN where a logit is not finite, or no other class is.
        """
        chances, place = self.mean.double(), label[:, None]
        others = chances.scatter(1, place, -torch.inf).amax(1)
        return (chances.gather(1, place)[:, 0] - others).where(others.isfinite(), torch.nan)


def _top5(scores: Tensor) -> Tensor:
    """Return the indices of the five largest scores along the last axis, padded with -1; only that if one is not finite.

    Of equal scores the first one wins, as in `argmax`, which attacks use: `topk` takes any, and scores of networks in 16 or 8
    bits are often equal. A stable sort takes ten times as long.
    """
    places, left = [], scores
    for _ in range(min(5, scores.shape[-1])):
        places.append(left.argmax(-1, keepdim=True))
        left = left.scatter(-1, places[-1], -torch.inf)
    best = torch.cat(places, -1).where(scores.isfinite().all(-1, keepdim=True), -1)
    return torch.nn.functional.pad(best, (0, 5 - best.shape[-1]), value=-1)


@torch.no_grad()
def judge(defended: Defended, stored: Tensor, keys: rng.Mirror, draws: int, stack: int) -> Verdict:
    """Judge 8-bit images `stored` (n, 3, h, w) uint8 by `draws` draws each, none of which an attack can meet
    (`bart.draw_keys`), whatever `keys` (n,) it has.
    """
    all_keys = draw_keys.to_judge(keys, draws, defended.frozen)
    top5, probabilities = [], torch.zeros(0, device=stored.device, dtype=torch.float32)
    exact = probabilities.double()  # the other sum depends on how draws are cut into passes, in its last digits
    for _, draw_range, logits in forward_draws(defended, stored.float() / 255, all_keys, draws, stack, fast=False):
        chances = logits.softmax(2)
        if draw_range.start == 0:
            top5.append(_top5(logits))
            probabilities = torch.cat([probabilities, chances.sum(1)])
            exact = torch.cat([exact, chances.sum(1, dtype=torch.float64)])
        else:  # more draws of the last image
            top5[-1] = torch.cat([top5[-1], _top5(logits)], dim=1)
            probabilities[-1] += chances.sum(1)[0]
            exact[-1] += chances.sum(1, dtype=torch.float64)[0]
    return Verdict(torch.cat(top5), _top5(probabilities), (exact / draws).float())


@torch.no_grad()
def broken(defended: Defended, stored: Tensor, goal: Goal, keys: rng.Mirror, draws: int, stack: int) -> Tensor:
    """Return which 8-bit images `stored` (n, 3, h, w) succeed in every one of `draws` draws, (n,) bool.

    Success means that the target comes first, or any class but the label if there is no target.
    """
    won = torch.ones(len(stored), dtype=torch.bool, device=stored.device)
    all_keys = draw_keys.to_attack(keys, draws)  # these draws choose when an image leaves; they judge nothing
    for images, _, logits in forward_draws(defended, stored.float() / 255, all_keys, draws, stack, fast=False):
        first, (label, target) = logits.argmax(2), goal.rows(images)
        won[images] &= torch.where(target[:, None] >= 0, first == target[:, None], first != label[:, None]).all(1)
    return won
