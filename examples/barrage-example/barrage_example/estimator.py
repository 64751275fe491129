"""The loss of the draw that resists most: what a persistent attacker's example must win too."""

from torch import Tensor

from bart import Estimator, Goal, Loss


def worst_draw(loss: Loss, logits: Tensor, goal: Goal) -> Tensor:
    """Return the least loss over the draws, (n,) from logits (n, draws, classes)."""
    draws = logits.shape[1]
    return loss(logits.flatten(0, 1), *goal.repeated(draws)).view(-1, draws).amin(1)


WORST_DRAW = Estimator(worst_draw)
