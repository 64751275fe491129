"""Steps of training a classifier for a defense, on tensors alone: what the network is shown of an image, and what it is told.

With a barrage, images go through it as they will when the defended model is used (Raff et al., CVPR 2019: every image through a
number of transforms drawn from 0 to 5). With an attack, they are adversarial examples of the network as it is (Madry et al.,
ICLR 2018; one step from a random start: Wong, Rice, Kolter, ICLR 2020). With both, the attack sees through the barrage by EOT
(Sitawarin, Golan-Strieb, Wagner, ICML 2022).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bart import rng
from bart.attacks.attack import Attack
from bart.classifier import Normalised
from bart.defenses.barrage import Barrage
from bart.defenses.defended import Defended
from bart.gradient import Goal


@dataclass(frozen=True)
class Augmentation:
    """A window of each picture, moved and mirrored at random.

    margin  pixels of the picture on each side of the window's middle place
    pad     pixels of reflection added around the picture; the window moves by up to margin + pad either way
    flip    mirrored left to right, with probability 1/2
    """

    margin: int = 0
    pad: int = 0
    flip: bool = True

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """Pictures (n, 3, h, w) of any type to (n, 3, h - 2 margin, w - 2 margin); one key each."""
        reach = self.margin + self.pad
        moved = rng.integers(keys, "window", -reach, reach, (2,))
        flipped = rng.coin(keys, "flip") if self.flip else torch.zeros_like(keys, dtype=torch.bool)
        rows = self._places(x.shape[2], moved[:, 0], torch.zeros_like(flipped))
        columns = self._places(x.shape[3], moved[:, 1], flipped)
        n, c = x.shape[:2]
        at = (rows[:, :, None] * x.shape[3] + columns[:, None, :]).view(n, 1, -1).expand(-1, c, -1)
        return x.flatten(2).gather(2, at).view(n, c, rows.shape[1], columns.shape[1])

    def middle(self, x: Tensor) -> Tensor:
        """The window where nothing is moved: what a network that is tested sees."""
        m = self.margin
        return x[:, :, m : x.shape[2] - m, m : x.shape[3] - m]

    def _places(self, side: int, moved: Tensor, flipped: Tensor) -> Tensor:
        """Rows or columns of the pictures that the windows take, (n, side - 2 margin) int64; outside, those that it mirrors."""
        window = torch.arange(self.margin, side - self.margin, device=moved.device)
        places = torch.where(flipped[:, None], window.flip(0), window) + moved[:, None]
        return side - 1 - (side - 1 - places.abs()).abs()


@dataclass(frozen=True)
class Objective:
    """(1 - distill) x cross-entropy + distill x T^2 x KL(teacher || network), both at temperature T in the second part.

    smoothing   of the labels (Szegedy et al., CVPR 2016)
    distill     the teacher's weight (Hinton, Vinyals, Dean, 2015)
    """

    smoothing: float = 0.0
    distill: float = 0.0
    temperature: float = 1.0

    def __call__(self, logits: Tensor, label: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The loss of each image, (n,), from logits (n, classes) float32, labels (n,) and the teacher's logits."""
        told = functional.cross_entropy(logits, label, reduction="none", label_smoothing=self.smoothing)
        if teacher is None:
            return told
        ours, theirs = ((z / self.temperature).log_softmax(1) for z in (logits, teacher))
        apart = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
        return (1 - self.distill) * told + self.distill * self.temperature**2 * apart


@dataclass(frozen=True)
class Lesson:
    """What a network is shown of each image: an adversarial example where there is an attack, through the barrage."""

    barrage: Barrage
    attack: Attack | None = None

    def __call__(self, classifier: Normalised, x: Tensor, label: Tensor, keys: rng.Mirror, stack: int) -> Tensor:
        """Images (n, 3, h, w) in [0, 1] from images in [0, 1]; keys one per image, fresh each step; `stack` draws fit at once.

        The attack works on the network in eval mode, so that no image changes what another becomes, and on other draws than
        those that the network then sees.
        """
        if self.attack:
            x = self._attacked(self.attack, classifier, x, label, keys, stack)
        return self.through(x, keys)

    @torch.no_grad()
    def through(self, x: Tensor, keys: rng.Mirror) -> Tensor:
        """The images behind the barrage alone."""
        return self.barrage(x, self.barrage.draw(keys.map(rng.fold, "lesson"), (x.shape[-2], x.shape[-1])))

    def _attacked(
        self, attack: Attack, classifier: Normalised, x: Tensor, label: Tensor, keys: rng.Mirror, stack: int
    ) -> Tensor:
        defended = Defended(classifier, self.barrage)
        with evaluating(classifier):
            state = attack.start(x, Goal(label, torch.full_like(label, -1)), keys.map(rng.fold, "attack"))
            for _ in range(attack.steps):
                state = attack.step(state, defended, stack)
        return attack.result(state)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in eval mode; afterwards each of its modules is in the mode in which it was."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def norms(network: nn.Module) -> list[nn.Module]:
    """Its BatchNorm modules."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def decayed(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Its parameters: those that weight decay is for (of convolutions and matrices), and the others (biases, norms)."""
    every = [p for p in network.parameters() if p.requires_grad]
    return [p for p in every if p.dim() > 1], [p for p in every if p.dim() <= 1]


class Average:
    """The exponential moving average of a network's weights and running statistics, kept beside it."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = network
        self.tensors = {name: value.clone() for name, value in self._floats().items()}

    def _floats(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.network.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(list(self.tensors.values()), list(self._floats().values()), 1 - self.decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The average in the place of the network's own weights."""
        own = self._floats()
        kept = {name: value.clone() for name, value in own.items()}
        try:
            _copy(self.tensors, own)
            yield
        finally:
            _copy(kept, own)


@torch.no_grad()
def _copy(values: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    for name, target in into.items():
        target.copy_(values[name])
