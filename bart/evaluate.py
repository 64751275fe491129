"""The verdict: fresh draws judge the image as it is stored, in the model's own precision, by rules that are stated."""

from typing import NamedTuple

import torch
from torch import Tensor

from bart import rng
from bart.classifier import Defended
from bart.gradient import draw_keys, pieces, rows


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
    every = draw_keys(keys.map(rng.fold, "evaluation"), draws)
    x = stored.float() / 255
    top5, mean = [], []
    for image in range(len(x)):
        one = slice(image, image + 1)
        logits = torch.cat(
            [
                defended.logits(x[one].expand(of.stop - of.start, -1, -1, -1), rows(every, draws, one, of))
                for _, of in pieces(1, draws, stack)
            ]
        )
        top5.append(_top5(logits))
        mean.append(_top5(logits.softmax(1).mean(0)))
    return Verdict(torch.stack(top5), torch.stack(mean))
