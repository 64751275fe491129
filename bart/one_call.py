"""Attack and judge images in one call, as in a notebook. Campaigns do the same for many, with checkpoints and rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bart import rng
from bart.attacks import Attack, Standard, lanes, standard
from bart.ball import Ball
from bart.classifier import Classifier, native_half
from bart.defenses import Defended, Defense, Undefended
from bart.gradient import Eot, Goal
from bart.verdict import Verdict, judge

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

BUDGET = 200
"""Draw-gradients of the default attack, as in campaigns."""


class Accuracy(NamedTuple):
    """Hold an accuracy in [0, 1] over images, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def accuracy(shares: Tensor) -> Accuracy:
    """Return the mean of shares (images,) in [0, 1], at least one, with Wilson's interval (1927).

    Images are its trials. For shares that are not 0 or 1 it is wider than it need be, since they vary less; `barrage table` has
    an interval that is not.
    """
    n, p = len(shares), float(shares.double().mean())
    centre, scale = p + Z * Z / (2 * n), 1 + Z * Z / n
    half = Z * math.sqrt(max(0.0, p * (1 - p)) / n + Z * Z / (4 * n * n))
    return Accuracy(p, max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def _single(verdict: Verdict, label: Tensor) -> Tensor:
    """Return the share of draws that are right."""
    return (verdict.top5[:, :, 0] == label[:, None]).double().mean(1)


def _vote(verdict: Verdict, label: Tensor) -> Tensor:
    """Return 1 where the class that most draws say is the label; of equal ones, the class that was said first counts."""
    said = verdict.top5[:, :, 0]
    votes = (said[:, :, None] == said[:, None, :]).sum(2)  # of each draw's class; argmax takes the first of the largest
    return (said.gather(1, votes.argmax(1, keepdim=True))[:, 0] == label).double()


def _mean(verdict: Verdict, label: Tensor) -> Tensor:
    """Return 1 where the class with the highest mean probability is the label."""
    return (verdict.mean_top5[:, 0] == label).double()


def _persistent(verdict: Verdict, label: Tensor) -> Tensor:
    """Return 1 where every draw is right."""
    return (verdict.top5[:, :, 0] == label[:, None]).all(1).double()


RULES: dict[str, Callable[[Verdict, Tensor], Tensor]] = {
    "single": _single, "vote": _vote, "mean": _mean, "persistent": _persistent,
}  # fmt: skip
"""The decision rules of `pipeline.scoring.rules` for the first class: shares (images,) of a verdict and labels."""


@dataclass(frozen=True, repr=False)
class Judged:
    """Hold what came of one call of `attack`; printed, it shows the accuracies by decision rule.

    examples            (n, 3, h, w) uint8, in the ball around the images
    images, labels      as they were given, in 8 bits (n, 3, h, w) and (n,)
    clean, adversarial  the verdicts on images and examples, by the same fresh draws
    about               the attack and what it cost, in words
    """

    examples: Tensor
    images: Tensor
    labels: Tensor
    clean: Verdict
    adversarial: Verdict
    about: str = field(default="")

    def accuracies(self, rule: str = "single") -> tuple[Accuracy, Accuracy]:
        """Return the accuracy on the images and on the examples under a rule of `RULES`."""
        score = RULES[rule]
        return accuracy(score(self.clean, self.labels)), accuracy(score(self.adversarial, self.labels))

    def __repr__(self) -> str:
        n, draws = self.clean.top5.shape[:2]
        judged = f"{draws} fresh draws" if draws > 1 else "one draw"
        head = f"{n} images, {judged} each, {self.about}\naccuracy in %, with 95 % intervals over images"
        rules = RULES if draws > 1 else ["single"]
        rows = [("rule", "clean", "attacked"), *((rule, *map(str, self.accuracies(rule))) for rule in rules)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([head, *lines])


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    defense: Defense | None = None,
    attack: Attack | None = None,
    draws: int = 20,
    seed: int = 0,
    stack: int = 64,
) -> Judged:
    """Attack images through a defended model, and judge images and examples by fresh draws.

    model    a `Classifier`, or any network that takes images in [0, 1] and normalises them itself: its copy is frozen
    images   (n, 3, h, w), uint8, or float in [0, 1], which is rounded to 8 bits
    labels   (n,) whole numbers
    defense  default: none
    attack   default: the standard attack with BUDGET draw-gradients an image, in the L-inf ball of 8/255
    draws    fresh draws that judge; one where nothing is random
    seed     decides all randomness: image i has the key (seed, i), so a call can be repeated exactly
    stack    draws that fit the device at once; decides no number
    Images are attacked on the device of `images`. Raises ValueError for images or labels of another form.
    """
    stored, clean = _eight_bits(images)
    labels = _checked_labels(labels, len(clean)).to(clean.device)
    classifier = model if isinstance(model, Classifier) else _frozen(model, clean)
    defended = Defended(classifier, defense or Undefended())
    random = defended.defense.random
    used = attack or Standard.of_budget(Ball("linf", 8 / 255), BUDGET, Eot(5 if random else 1, standard.LOSS, unit=True))
    keys = rng.Mirror.of(
        torch.tensor([rng.key(seed, i) for i in range(len(clean))], dtype=torch.int64, device="cpu"), clean.device
    )
    state = used.start(clean, Goal(labels, torch.full_like(labels, -1)), keys)
    while not lanes.over(state, used):
        state = lanes.step(used, state, defended, stack, len(clean))
    examples = used.ball.store(used.result(state), clean)
    clean_verdict, adversarial = (judge(defended, x, keys, draws if random else 1, stack) for x in (stored, examples))
    spent = int(state.grad_evals.sum()) // len(clean), int(state.forward_evals.sum()) // len(clean)
    cost = f"{spent[0]} draw-gradients and {spent[1]} more draws an image"
    about = f"{type(used).__name__} in {used.ball.norm} {used.ball.eps:.4g}: {cost}"
    return Judged(examples, stored, labels, clean_verdict, adversarial, about)


def _eight_bits(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return images as 8-bit values, uint8 and float in [0, 1]. Raises ValueError."""
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images {tuple(images.shape)}: expected (n, 3, h, w)")
    if images.is_floating_point():
        if not (images.isfinite().all() and images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"images from {float(images.min()):g} to {float(images.max()):g}: expected values in [0, 1]")
        images = torch.round(255 * images).to(torch.uint8)
    if images.dtype != torch.uint8:
        raise ValueError(f"images of {images.dtype}: expected uint8, or float in [0, 1]")
    return images, images.float() / 255


def _checked_labels(labels: Tensor, images: int) -> Tensor:
    """Return labels as int64. Raises ValueError unless there is one for each of `images` images."""
    if labels.shape != (images,) or labels.is_floating_point() or (labels < 0).any():
        raise ValueError(f"labels {labels.dtype} {tuple(labels.shape)}: expected one whole number for each of {images} images")
    return labels.long()


def _frozen(model: nn.Module, like: Tensor) -> Classifier:
    """Return a network that normalises images itself as a classifier of images `like` (n, c, h, w), on their device."""
    channels, height, width = like.shape[1:]
    return Classifier(model, (0.0,) * channels, (1.0,) * channels, (height, width), native_half(like.device)).to(like.device)
