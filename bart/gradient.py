"""Estimate the input gradient of a randomised defense by expectation over transformation (EOT: Athalye et al., ICML 2018)."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from barrage_plugins import Registry
from bart import draw_keys, rng
from bart.bpda import POLICIES, complete
from bart.defenses import Defended
from bart.losses import LOSSES, Loss
from bart.low_frequencies import low_frequencies
from bart.recording import possible, repeat, with_room

Forward = Callable[[slice, slice], Tensor]
"""(which images, which draws) -> logits (images, draws, classes)."""

HALF_SCALE = 2.0**10
"""Factor of the losses in the backward pass, so that fp16 does not underflow. A power of two changes no digit."""


@dataclass(frozen=True)
class Eot:
    """Hold how a gradient is estimated.

    draws       draws per gradient
    loss        a name of `bart.losses.LOSSES`
    estimator   a name of `ESTIMATORS`: how the losses or logits of the draws become one loss
    policy      a name of `bart.bpda.policies.POLICIES`: how transforms are differentiated
    fixed_order one choice and order of transforms for all draws of an image's step; the parameters stay independent
    unit        divide the gradient of each draw by its own L1 norm, so that no draw outweighs the others; needs an estimator
                that is a mean over the draws
    frequencies the share, in (0, 1], of the spatial frequencies of each side that the gradient keeps, from the lowest up
    Raises ValueError for an unknown name, fewer than 1 draw, `unit` with another estimator, or a share out of range.
    """

    draws: int = 10
    loss: str = "ce"
    estimator: str = "per_draw"
    policy: str = "combo"
    fixed_order: bool = False
    unit: bool = False
    frequencies: float = 1.0

    def __post_init__(self) -> None:
        for value, known in ((self.loss, LOSSES), (self.estimator, ESTIMATORS), (self.policy, POLICIES)):
            if value not in known:
                raise ValueError(f"{value!r}: expected one of {', '.join(known)}")
        if self.draws < 1:
            raise ValueError(f"draws = {self.draws}: expected at least 1")
        if self.unit and not ESTIMATORS[self.estimator].by_draw:
            raise ValueError(f"estimator {self.estimator!r} with unit gradients: expected a mean over draws: per_draw")
        if not 0 < self.frequencies <= 1:
            raise ValueError(f"frequencies = {self.frequencies}: expected a share of more than 0 and at most 1")


def pieces(images: int, draws: int, stack: int) -> Iterator[tuple[slice, slice]]:
    """Cut images x draws into passes of at most `stack` rows: whole images if their draws fit, else runs of draws."""
    together = max(1, stack // draws)
    at_once = min(draws, stack)
    for first in range(0, images, together):
        for draw in range(0, draws, at_once):
            yield slice(first, min(first + together, images)), slice(draw, min(draw + at_once, draws))


def rows(keys: rng.Mirror, draws: int, images: slice, draw_range: slice) -> rng.Mirror:
    """Return the keys of a range of draws of a range of images, from all keys (n x draws,)."""
    return keys.map(lambda side: side.view(-1, draws)[images, draw_range].flatten())


class Goal(NamedTuple):
    """Hold the aim for each image:

    `label` (n,) is the right class, `target` (n,) the class to reach, or -1 for any wrong class.
    """

    label: Tensor
    target: Tensor

    def rows(self, images: slice) -> "Goal":
        """Return the goal of a range of images."""
        return Goal(self.label[images], self.target[images])

    def repeated(self, times: int) -> "Goal":
        """Return the goal with each image repeated."""
        return Goal(self.label.repeat_interleave(times), self.target.repeat_interleave(times))


LossOf = Callable[[Tensor, Goal], Tensor]
"""(logits (n, draws, classes), goal of the n images) -> loss of each image, (n,)."""


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
    return loss(logits.flatten(0, 1), *goal.repeated(logits.shape[1])).view(len(logits), -1).mean(1)


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
    """Return what the attack ascends: the gradient of its loss in the images, (n, 3, h, w), and the loss, (n,), over the
    draws.

    x (n, 3, h, w) in [0, 1]; keys one per image, different in each step; `stack` draws fit the device at once. Raises
    ValueError if the policy needs a network that `defended` lacks.
    """
    complete(eot.policy, defended.networks, defended.defense.differentiated)
    all_keys = draw_keys.to_attack(keys, eot.draws)
    order = draw_keys.shared(keys, eot.draws) if eot.fixed_order and not defended.frozen else None
    by_draw, passes = ESTIMATORS[eot.estimator].by_draw, _Passes(defended, eot)
    total, loss = torch.zeros_like(x), torch.zeros(len(x), device=x.device, dtype=torch.float32)

    def rows_of(images: slice, draw_range: slice) -> tuple[rng.Mirror, rng.Mirror | None]:
        """Return the keys of one pass."""
        return rows(all_keys, eot.draws, images, draw_range), rows(order, eot.draws, images, draw_range) if order else None

    def forward(images: slice, draw_range: slice) -> Tensor:
        """Return the logits (images, draws, classes) of one pass without a graph."""
        return with_room(lambda: passes.logits(x[images], *rows_of(images, draw_range)))

    for images, draw_range in pieces(len(x), eot.draws, stack):
        at, aim, keys_of = x[images].detach(), goal.rows(images), rows_of(images, draw_range)
        if by_draw or draw_range.stop - draw_range.start == eot.draws:
            value, part = passes.of_loss(at, aim, *keys_of)
            loss[images] += value
        else:  # the mean needs all draws, which do not fit: compute its cotangent without a graph first
            if draw_range.start == 0:
                loss[images], cotangent = _cotangent(forward, aim, images, passes.loss_of, eot.draws, stack)
            part = passes.of_cotangent(at, cotangent[:, draw_range], *keys_of)
        part = low_frequencies(part, eot.frequencies)
        total[images] += _unit(part).sum(1) / eot.draws if eot.unit else part / HALF_SCALE
    return total, loss


class _Passes:
    """Make the passes of a gradient: each goes forward and backward through as many draws as fit."""

    def __init__(self, defended: Defended, eot: Eot) -> None:
        self.defended, self.eot = defended, eot
        self.policy = partial(POLICIES[eot.policy], networks=defended.networks)
        self.loss_of = partial(ESTIMATORS[eot.estimator].loss, LOSSES[eot.loss])

    def logits(self, leaf: Tensor, keys: rng.Mirror, order: rng.Mirror | None) -> Tensor:
        """Return the logits (images, draws, classes) of images (n, 3, h, w), or of one for each draw, (n, draws, 3, h, w)."""
        count = len(keys.host) // len(leaf)
        stacked = leaf.repeat_interleave(count, 0) if leaf.dim() == 4 else leaf.flatten(0, 1)
        return self.defended.logits(stacked, keys, self.policy, order, fast=True).view(len(leaf), count, -1)

    def of_loss(self, x: Tensor, goal: Goal, keys: rng.Mirror, order: rng.Mirror | None) -> tuple[Tensor, Tensor]:
        """Return the share of these draws in the loss, (n,), and its derivative times `HALF_SCALE`, of each draw if `unit`.

        On a GPU the third pass of a kind is recorded, and later ones are replays of it: draws, network, loss and derivative.
        """

        def function(
            x: Tensor, label: Tensor, target: Tensor, keys_now: Tensor, order_now: Tensor | None
        ) -> tuple[Tensor, ...]:
            leaf = self._leaf(x, len(keys.host) // len(x))
            order_keys = rng.Mirror(order.host, order_now) if order and order_now is not None else None
            logits = self.logits(leaf, rng.Mirror(keys.host, keys_now), order_keys)
            value = self.loss_of(logits, Goal(label, target)) * (logits.shape[1] / self.eot.draws)
            return value.detach(), *torch.autograd.grad(value.sum() * HALF_SCALE, leaf)

        kind = self._kind(x, keys, order)
        inputs = (x, *goal, keys.device, order.device if order else None)
        value, part = repeat(self.defended.classifier, kind, function, *inputs)
        return value, part

    def of_cotangent(self, x: Tensor, cotangent: Tensor, keys: rng.Mirror, order: rng.Mirror | None) -> Tensor:
        """Return the derivative of the logits, weighted by a cotangent (n, draws, classes), times `HALF_SCALE`."""

        def function() -> Tensor:
            leaf = self._leaf(x, cotangent.shape[1])
            return torch.autograd.grad((self.logits(leaf, keys, order) * cotangent).sum((1, 2)).sum() * HALF_SCALE, leaf)[0]

        return with_room(function)

    def _leaf(self, x: Tensor, count: int) -> Tensor:
        """Return that for which a derivative is asked: the images, or one for each draw, (n, draws, 3, h, w), if `unit`."""
        return (x[:, None].repeat(1, count, 1, 1, 1) if self.eot.unit else x.detach()).requires_grad_()

    def _kind(self, x: Tensor, keys: rng.Mirror, order: rng.Mirror | None) -> Hashable | None:
        """Return all that decides which work a pass queues, but the shapes of tensors; None if it can't be recorded."""
        if not possible(self.defended.classifier, x):
            return None
        work = self.defended.defense.recordable(x, keys, order, self.policy)
        return None if work is None else (self.defended, self.eot, work)


def _unit(parts: Tensor) -> Tensor:
    """Return the gradients of single draws (..., 3, h, w), each divided by its L1 norm; 0 where that is 0.

    Entries that are not finite stay so, and are left out of the norm. The largest entry becomes 1 first: the norm of tiny
    gradients would be 0 in float32, that of huge ones infinite.
    """
    size = parts.abs().nan_to_num(0, 0, 0)
    largest = size.amax((-3, -2, -1), keepdim=True)
    scale = torch.where(largest > 0, largest, 1)
    return parts / scale / (size / scale).sum((-3, -2, -1), keepdim=True).clamp_min(1)


def _cotangent(forward: Forward, goal: Goal, images: slice, loss_of: LossOf, draws: int, stack: int) -> tuple[Tensor, Tensor]:
    """Return the loss (n,) and its derivative in each draw's logits (n, draws, classes).

    Holds all draws, but only as logits.
    """
    with torch.no_grad():
        cuts = [draw_range for _, draw_range in pieces(1, draws, stack)]
        logits = torch.cat([forward(images, draw_range) for draw_range in cuts], dim=1)
    logits.requires_grad_()
    loss = loss_of(logits, goal)
    return loss.detach(), torch.autograd.grad(loss.sum(), logits)[0]


@torch.no_grad()
def forward_draws(
    defended: Defended, x: Tensor, all_keys: rng.Mirror, draws: int, stack: int, fast: bool = True
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield (which images, which draws, logits (images, draws, classes)) pass by pass, for `draws` draws of each image.

    all_keys    their keys, image by image, (n x draws,), as `bart.draw_keys` makes them
    """
    for images, draw_range in pieces(len(x), draws, stack):
        count = draw_range.stop - draw_range.start
        stacked, keys = x[images].repeat_interleave(count, 0), rows(all_keys, draws, images, draw_range)
        logits = with_room(partial(defended.logits, stacked, keys, fast=fast))
        yield images, draw_range, logits.view(-1, count, logits.shape[-1])


def mean_loss(defended: Defended, x: Tensor, goal: Goal, keys: rng.Mirror, loss_name: str, draws: int, stack: int) -> Tensor:
    """Return the mean over the draws of a loss of `bart.losses.LOSSES`, (n,); larger is better for the attack.

    No gradient: attacks that use only values compare these. Two values are comparable if they come from the same keys, and so
    from the same draws.
    """
    total, loss = torch.zeros(len(x), device=x.device, dtype=torch.float32), LOSSES[loss_name]
    for images, draw_range, logits in forward_draws(defended, x, draw_keys.to_attack(keys, draws), draws, stack):
        values = loss(logits.flatten(0, 1), *goal.rows(images).repeated(draw_range.stop - draw_range.start))
        total[images] += values.view(len(logits), -1).sum(1)
    return total / draws


def score(defended: Defended, x: Tensor, goal: Goal, keys: rng.Mirror, draws: int, stack: int) -> Tensor:
    """Return how successful each image is, (n,) in [0, 1], without a gradient; larger is better for the attack.

    It is the mean over the draws of success, 0 or 1, and of its probability, half each: success means that the target comes
    first, or any class but the label. So in one draw an image that succeeds always beats one that does not, and the surer of
    two alike is the better.
    """
    total = torch.zeros(len(x), device=x.device, dtype=torch.float32)
    for images, draw_range, logits in forward_draws(defended, x, draw_keys.to_attack(keys, draws), draws, stack):
        wanted = goal.rows(images).repeated(draw_range.stop - draw_range.start)
        chances = logits.flatten(0, 1).softmax(1)
        label, target = (chances.gather(1, c.clamp_min(0)[:, None])[:, 0] for c in wanted)
        aimed, first = wanted.target >= 0, chances.argmax(1)
        won = torch.where(aimed, first == wanted.target, first != wanted.label)
        total[images] += ((won + torch.where(aimed, target, 1 - label)) / 2).view(len(logits), -1).sum(1)
    return total / draws
