"""Expectation over transformation: the input gradient of a randomised defense (Athalye et al., ICML 2018)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from barrage_plugins import Registry
from bart import rng
from bart.bpda.policies import POLICIES, complete
from bart.defenses.defended import Defended
from bart.losses import LOSSES, Loss

Forward = Callable[[Tensor, slice, slice], Tensor]
"""(images, which of all, which draws) -> logits (images, draws, classes)."""

HALF_SCALE = 2.0**10
"""Losses are scaled by this on their way back, so that fp16 does not underflow; a power of two changes no digit."""


@dataclass(frozen=True)
class Eot:
    """How a gradient is estimated.

    draws       draws per gradient
    loss        a name of `bart.losses.LOSSES`
    estimator   a name of `ESTIMATORS`: how the losses or logits of the draws become one loss
    policy      a name of `bart.bpda.policies.POLICIES`: how transforms are differentiated
    fixed_order one choice and order of transforms for all draws of an image's step, the parameters independent
    Raises ValueError for a name that is none of these.
    """

    draws: int = 10
    loss: str = "ce"
    estimator: str = "per_draw"
    policy: str = "combo"
    fixed_order: bool = False

    def __post_init__(self) -> None:
        for value, known in ((self.loss, LOSSES), (self.estimator, ESTIMATORS), (self.policy, POLICIES)):
            if value not in known:
                raise ValueError(f"{value!r}: expected one of {', '.join(known)}")
        if self.draws < 1:
            raise ValueError(f"draws = {self.draws}: expected at least 1")


def draw_keys(keys: rng.Mirror, draws: int) -> rng.Mirror:
    """One key per image and draw from one per image, image by image: (n,) -> (n x draws,)."""

    def spread(side: Tensor) -> Tensor:
        return rng.fold(side[:, None], torch.arange(draws, device=side.device)).flatten()

    return keys.map(spread)


def pieces(images: int, draws: int, stack: int) -> Iterator[tuple[slice, slice]]:
    """Cuts images x draws into passes of at most `stack` rows: whole images where their draws fit, else runs of draws."""
    together = max(1, stack // draws)
    at_once = min(draws, stack)
    for first in range(0, images, together):
        for draw in range(0, draws, at_once):
            yield slice(first, min(first + together, images)), slice(draw, min(draw + at_once, draws))


def rows(keys: rng.Mirror, draws: int, some: slice, of: slice) -> rng.Mirror:
    """The keys of some draws of some images."""
    return keys.map(lambda side: side.view(-1, draws)[some, of].flatten())


class Goal(NamedTuple):
    """What is wanted of each image: `label` (n,) is right, `target` (n,) is to be reached, -1 where any wrong class will do."""

    label: Tensor
    target: Tensor

    def of(self, some: slice) -> "Goal":
        return Goal(self.label[some], self.target[some])

    def each(self, times: int) -> "Goal":
        return Goal(self.label.repeat_interleave(times), self.target.repeat_interleave(times))


class Estimator(NamedTuple):
    """Describe how the logits of an image's draws become one loss.

    loss      of each image, (n,), from the loss to be used, the logits (n, draws, classes) and the goal of the n images
    by_draw   whether it is a mean over the draws, so that a part of the draws adds its share and they need not fit together
    version   of its definition, from 1
    """

    loss: Callable[[Loss, Tensor, Goal], Tensor]
    by_draw: bool = False
    version: int = 1


def per_draw(loss: Loss, logits: Tensor, goal: Goal) -> Tensor:
    """Return the mean of each draw's loss, (n,)."""
    return loss(logits.flatten(0, 1), *goal.each(logits.shape[1])).view(len(logits), -1).mean(1)


def mean_logits(loss: Loss, logits: Tensor, goal: Goal) -> Tensor:
    """Return the loss of the draws' mean logits, (n,)."""
    return loss(logits.mean(1), *goal)


def mean_probabilities(loss: Loss, logits: Tensor, goal: Goal) -> Tensor:
    """Return the loss of the logarithm of the draws' mean probabilities, (n,)."""
    return loss(logits.softmax(2).mean(1).clamp_min(1e-30).log(), *goal)


ESTIMATORS: Registry[Estimator] = Registry(
    "estimator",
    "estimators",
    builtin={
        "per_draw": Estimator(per_draw, by_draw=True),
        "mean_logits": Estimator(mean_logits),
        "mean_probabilities": Estimator(mean_probabilities),
    },
    expected="a bart.Estimator",
    accepts=lambda name, thing: isinstance(thing, Estimator),
)
"""The gradient estimators by the name that a campaign file uses, with those of other packages (`barrage.estimators`)."""


def gradient(defended: Defended, x: Tensor, goal: Goal, keys: rng.Mirror, eot: Eot, stack: int) -> tuple[Tensor, Tensor]:
    """What the attack ascends: the gradient of its loss in the images, (n, 3, h, w), and the loss, (n,), over the draws.

    x (n, 3, h, w) in [0, 1]; keys one per image, fresh each step; `stack` draws fit the device at once.
    Raises ValueError where the policy needs a network that `defended` lacks.
    """
    complete(eot.policy, defended.networks, defended.barrage.transforms if defended.barrage.k else ())
    every = draw_keys(keys, eot.draws)
    order = keys.map(lambda side: side.repeat_interleave(eot.draws)) if eot.fixed_order else None
    policy = partial(POLICIES[eot.policy], networks=defended.networks)
    total, loss = torch.zeros_like(x), torch.zeros(len(x), device=x.device)

    def forward(leaf: Tensor, some: slice, of: slice) -> Tensor:
        """Logits (images, draws, classes) of one pass."""
        count = of.stop - of.start
        order_keys = rows(order, eot.draws, some, of) if order else None
        stacked = leaf.repeat_interleave(count, 0)
        logits = defended.logits(stacked, rows(every, eot.draws, some, of), policy, order_keys, fast=True)
        return logits.view(len(leaf), count, -1)

    for some, of in pieces(len(x), eot.draws, stack):
        leaf = x[some].detach().requires_grad_()
        logits = forward(leaf, some, of)
        if ESTIMATORS[eot.estimator].by_draw or of.stop - of.start == eot.draws:
            value = _loss(logits, goal.of(some), eot) * (logits.shape[1] / eot.draws)
            loss[some] += value.detach()
        else:  # the mean needs all draws, which do not fit: its cotangent comes from a pass without a graph
            if of.start == 0:
                loss[some], cotangent = _cotangent(forward, x[some], goal.of(some), some, eot, stack)
            value = (logits * cotangent[:, of]).sum((1, 2))
        (part,) = torch.autograd.grad(value.sum() * HALF_SCALE, leaf)
        total[some] += part / HALF_SCALE
    return total, loss


def _loss(logits: Tensor, goal: Goal, eot: Eot) -> Tensor:
    """The loss of each image, (n,), from the logits of its draws (n, draws, classes)."""
    return ESTIMATORS[eot.estimator].loss(LOSSES[eot.loss], logits, goal)


def _cotangent(forward: Forward, x: Tensor, goal: Goal, some: slice, eot: Eot, stack: int) -> tuple[Tensor, Tensor]:
    """The loss (n,) and its derivative in each draw's logits (n, draws, classes), with all draws held as logits only."""
    with torch.no_grad():
        cuts = [of for _, of in pieces(1, eot.draws, stack)]
        logits = torch.cat([forward(x, some, of) for of in cuts], dim=1)
    logits.requires_grad_()
    loss = _loss(logits, goal, eot)
    return loss.detach(), torch.autograd.grad(loss.sum(), logits)[0]


@torch.no_grad()
def forward_draws(
    defended: Defended, x: Tensor, keys: rng.Mirror, draws: int, stack: int, fast: bool = True
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Logits (images, draws, classes) of `draws` draws of each image, pass by pass: (which images, which draws, logits)."""
    every = draw_keys(keys, draws)
    for some, of in pieces(len(x), draws, stack):
        count = of.stop - of.start
        logits = defended.logits(x[some].repeat_interleave(count, 0), rows(every, draws, some, of), fast=fast)
        yield some, of, logits.view(-1, count, logits.shape[-1])


def mean_loss(defended: Defended, x: Tensor, goal: Goal, keys: rng.Mirror, loss_name: str, draws: int, stack: int) -> Tensor:
    """The mean over the draws of a loss of `bart.losses.LOSSES`, (n,), more is better for the attack: what attacks compare that
    go by values. No gradient. Two values are comparable if they come from the same keys, and so from the same draws."""
    total = torch.zeros(len(x), device=x.device)
    for some, of, logits in forward_draws(defended, x, keys, draws, stack):
        values = LOSSES[loss_name](logits.flatten(0, 1), *goal.of(some).each(of.stop - of.start))
        total[some] += values.view(len(logits), -1).sum(1)
    return total / draws


def score(defended: Defended, x: Tensor, goal: Goal, keys: rng.Mirror, draws: int, stack: int) -> Tensor:
    """How far each image is from being won, (n,) in [0, 1], more is better for the attack: over the draws, the mean probability
    of the target, or of any class but the label. No gradient."""
    total = torch.zeros(len(x), device=x.device)
    for some, of, logits in forward_draws(defended, x, keys, draws, stack):
        wanted = goal.of(some).each(of.stop - of.start)
        chances = logits.flatten(0, 1).softmax(1)
        label, target = (chances.gather(1, c.clamp_min(0)[:, None])[:, 0] for c in wanted)
        won = torch.where(wanted.target >= 0, target, 1 - label)
        total[some] += won.view(len(logits), -1).sum(1)
    return total / draws
