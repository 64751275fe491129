"""Find where a chance crosses one half, from yes and no alone: Bayesian search on a grid of sigmoids.

Source: Simon-Gabriel, Sheikh, Krause, ICML 2021 (PopSkipJump, section 3.2); the places to ask are quantiles of the posterior,
a round of them at once, where the article takes the most informative one after the other.
"""

from collections.abc import Callable

import torch
from torch import Tensor

FARTHEST, PLACES = 1.5, 151
"""The last place, and the number of places: they are 1 / 100 apart."""

SLOPES = (4.0, 12.0, 40.0, 120.0, 400.0, 4000.0)
"""Slopes of the sigmoids: the chance of yes at place r is e + (1 - 2 e) / (1 + exp(-slope (r - t)))."""

ERRORS = (1e-3, 0.1, 0.2)
"""The e: chances of a yes far below t, and of a no far above it."""

ROUNDS, AT_ONCE = 8, 4
"""Rounds of questions, and questions of a round."""

QUESTIONS = ROUNDS * AT_ONCE
"""Questions of one search."""

Ask = Callable[[Tensor, int], Tensor]
"""(places (q, n) of q questions for each of n subjects; the number of questions before) -> whether yes, (q, n) bool."""


def search(ask: Ask, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the place t, (n,) in [0, `FARTHEST`], at which the answer is yes or no alike, for `count` subjects, and the width
    of the sigmoid there, 1 / slope, (n,): the means of the posterior. If yes never comes, t is near `FARTHEST`.
    """
    t = torch.linspace(0, FARTHEST, PLACES, device=device, dtype=torch.float32)
    slope, error = (torch.tensor(values, dtype=torch.float32, device=device) for values in (SLOPES, ERRORS))
    weight = torch.zeros(count, PLACES, len(SLOPES), len(ERRORS), device=device, dtype=torch.float32)  # logarithms
    levels = (torch.arange(AT_ONCE, dtype=torch.float32, device=device) + 0.5) / AT_ONCE
    for first in range(0, QUESTIONS, AT_ONCE):
        beneath = _posterior(weight).sum((2, 3)).cumsum(1)
        at = torch.searchsorted(beneath, levels.expand(count, -1).contiguous()).clamp_max(PLACES - 1)
        places = t[at].T
        yes = ask(places, first)
        apart = places[:, :, None, None, None] - t[:, None, None]
        chance = error + (1 - 2 * error) * torch.sigmoid(slope[:, None] * apart)
        weight = weight + torch.where(yes[:, :, None, None, None], chance, 1 - chance).log().sum(0)
    posterior = _posterior(weight)
    return posterior.sum((2, 3)) @ t, posterior.sum((1, 3)) @ (1 / slope)


def _posterior(weight: Tensor) -> Tensor:
    return weight.flatten(1).softmax(1).view_as(weight)
