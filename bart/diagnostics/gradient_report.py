"""Measure how the gradients of single draws agree, image by image."""

from typing import NamedTuple

import torch
from torch import Tensor

from bart import draw_keys, rng
from bart.defenses import Defended
from bart.gradient import Eot, Goal, gradient


class GradientReport(NamedTuple):
    """Hold statistics over the draws of each image, (n,) each.

    norm        the median norm
    spread      the largest norm over the median
    cosine      the mean cosine between two draws
    agreement   how often a pixel's sign is that of the mean gradient
    zero, nonfinite   the shares of draws whose gradient is zero, or not finite
    stuck       the share of values at 0 and 1 that no draw moves, beyond that of other values, as behind a `clamp` of torch
    """

    norm: Tensor
    spread: Tensor
    cosine: Tensor
    agreement: Tensor
    zero: Tensor
    nonfinite: Tensor
    stuck: Tensor


def gradient_report(
    defended: Defended, x: Tensor, goal: Goal, keys: rng.Mirror, draws: int, eot: Eot, stack: int
) -> GradientReport:
    """Report on `draws` gradients of each image of `x` (n, 3, h, w), taken one by one with the loss and policy of `eot`."""
    all_keys = draw_keys.to_attack(defended.keys(keys, "report"), draws)
    one = Eot(1, eot.loss, "per_draw", eot.policy)
    columns = []
    for i in range(len(x)):
        image_draws = slice(i * draws, (i + 1) * draws)
        images, wanted = x[i : i + 1].expand(draws, -1, -1, -1), goal.rows(slice(i, i + 1)).repeated(draws)
        each, _ = gradient(
            defended, images, wanted, all_keys.map(lambda side, image_draws=image_draws: side[image_draws]), one, stack
        )
        columns.append((*_image_columns(each.flatten(1)), _stuck(each, x[i])))
    return GradientReport(*(torch.stack(column) for column in zip(*columns, strict=True)))


def _image_columns(each: Tensor) -> tuple[Tensor, ...]:
    """Return the columns of one image from its gradients (draws, pixels)."""
    bad = ~each.isfinite().all(1)
    each = each.nan_to_num(0, 0, 0).double()  # else the squares of a short gradient underflow
    norms = each.norm(dim=1)
    median, draws, least = norms.median(), len(each), torch.finfo(each.dtype).tiny
    unit = each / norms.clamp_min(least)[:, None]
    cosine = (unit.sum(0).square().sum() - unit.square().sum()) / max(1, draws * (draws - 1))
    agreement = (each.sign() == each.mean(0).sign()).float().mean()
    zero = ((norms == 0) & ~bad).float().mean()
    return median, norms.amax() / median.clamp_min(least), cosine, agreement, zero, bad.float().mean()


def _stuck(each: Tensor, image: Tensor) -> Tensor:
    """Return the share of the values at 0 and 1 of an image (c, h, w) that get no gradient in any of `each` (draws, c, h, w),
    beyond that of its other values; 0 if there are none."""
    still, edge = (each == 0).all(0), (image == 0) | (image == 1)
    if not edge.any():
        return torch.zeros((), device=image.device, dtype=torch.float32)
    others = still[~edge].float().mean() if (~edge).any() else torch.zeros((), device=image.device, dtype=torch.float32)
    return (still[edge].float().mean() - others).clamp_min(0)
