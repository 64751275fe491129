"""Train a classifier for a defense: the images that the network sees, and the loss. On tensors alone.

With a barrage, images go through it as they do when the defended model is used (Raff et al., CVPR 2019: a number of transforms
drawn from 0 to 5 for every image). With an attack, they are adversarial examples of the current network (Madry et al., ICLR
2018; one step from a random start: Wong, Rice, Kolter, ICLR 2020). With both, the attack sees the barrage by EOT (Sitawarin,
Golan-Strieb, Wagner, ICML 2022).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bart import rng
from bart.attacks import Attack
from bart.classifier import Normalised
from bart.defenses import Defended, Preprocessor
from bart.gradient import Goal


@dataclass(frozen=True)
class Augmentation:
    """Cut a window of each picture, moved and mirrored at random.

    margin  pixels of the picture on each side of the window's central place
    pad     pixels of reflection added around the picture; the window moves by up to margin + pad either way
    flip    mirror left to right, with probability 1/2
    """

    margin: int = 0
    pad: int = 0
    flip: bool = True

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """Return windows (n, 3, h - 2 margin, w - 2 margin) of pictures (n, 3, h, w) of any type; one key each."""
        reach = self.margin + self.pad
        moved = rng.integers(keys, "window", -reach, reach, (2,))
        flipped = rng.coin(keys, "flip") if self.flip else torch.zeros_like(keys, dtype=torch.bool)
        rows = self._places(x.shape[2], moved[:, 0], torch.zeros_like(flipped))
        columns = self._places(x.shape[3], moved[:, 1], flipped)
        n, c = x.shape[:2]
        at = (rows[:, :, None] * x.shape[3] + columns[:, None, :]).view(n, 1, -1).expand(-1, c, -1)
        return x.flatten(2).gather(2, at).view(n, c, rows.shape[1], columns.shape[1])

    def middle(self, x: Tensor) -> Tensor:
        """Return the window that is not moved: what a network sees in a test."""
        m = self.margin
        return x[:, :, m : x.shape[2] - m, m : x.shape[3] - m]

    def _places(self, side: int, moved: Tensor, flipped: Tensor) -> Tensor:
        """Return the rows or columns that the windows take, (n, side - 2 margin) int64.

        Those outside the picture are mirrored.
        """
        window = torch.arange(self.margin, side - self.margin, device=moved.device)
        places = torch.where(flipped[:, None], window.flip(0), window) + moved[:, None]
        return side - 1 - (side - 1 - places.abs()).abs()


@dataclass(frozen=True)
class Objective:
    """Compute (1 - distill) x cross-entropy + distill x T^2 x KL(teacher || network), the second part at temperature T.

    smoothing   of the labels (Szegedy et al., CVPR 2016)
    distill     the teacher's weight (Hinton, Vinyals, Dean, 2015)
    """

    smoothing: float = 0.0
    distill: float = 0.0
    temperature: float = 1.0

    def __call__(self, logits: Tensor, label: Tensor, teacher: Tensor | None = None) -> Tensor:
        """Return the loss of each image, (n,), from logits (n, classes) float32, labels (n,) and the teacher's logits."""
        label_loss = functional.cross_entropy(logits, label, reduction="none", label_smoothing=self.smoothing)
        if teacher is None:
            return label_loss
        ours, theirs = ((z / self.temperature).log_softmax(1) for z in (logits, teacher))
        divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
        return (1 - self.distill) * label_loss + self.distill * self.temperature**2 * divergence


@dataclass(frozen=True)
class Lesson:
    """Make the images that the network is trained on: adversarial examples if there is an attack, behind the defense."""

    defense: Preprocessor
    attack: Attack | None = None

    def __call__(self, classifier: Normalised, x: Tensor, label: Tensor, keys: rng.Mirror, stack: int) -> Tensor:
        """Return images (n, 3, h, w) in [0, 1] from images in [0, 1]; one key per image, different in each step.

        `stack` draws fit the device at once. The attack works on the network in eval mode, so that no image changes another.
        It uses other draws than those that the network then sees.
        """
        if self.attack:
            x = self._attacked(self.attack, classifier, x, label, keys, stack)
        return self.through(x, keys)

    @torch.no_grad()
    def through(self, x: Tensor, keys: rng.Mirror) -> Tensor:
        """Return the images behind the defense, without an attack."""
        return self.defense.apply(x, self.defense.draw(keys.map(rng.fold, "lesson"), (x.shape[-2], x.shape[-1])))

    def _attacked(
        self, attack: Attack, classifier: Normalised, x: Tensor, label: Tensor, keys: rng.Mirror, stack: int
    ) -> Tensor:
        """Return adversarial examples of the network in eval mode."""
        defended = Defended(classifier, self.defense)
        with evaluating(classifier):
            state = attack.start(x, Goal(label, torch.full_like(label, -1)), keys.map(rng.fold, "attack"))
            for _ in range(attack.steps):
                state = attack.step(state, defended, stack)
        return attack.result(state)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put the network into eval mode; afterwards restore the mode of each of its modules."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def norms(network: nn.Module) -> list[nn.Module]:
    """Return the BatchNorm modules of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def decayed(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return a network's parameters: those with weight decay (of convolutions and matrices), and the others (biases, norms)."""
    every = [p for p in network.parameters() if p.requires_grad]
    return [p for p in every if p.dim() > 1], [p for p in every if p.dim() <= 1]


class Average:
    """Keep the exponential moving average of a network's weights and running statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = network
        self.tensors = {name: value.clone() for name, value in self._floats().items()}

    def _floats(self) -> dict[str, Tensor]:
        """Return the network's floating-point tensors by name."""
        return {name: value.detach() for name, value in self.network.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network's current values."""
        torch._foreach_lerp_(list(self.tensors.values()), list(self._floats().values()), 1 - self.decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Use the average instead of the network's own weights, within the context."""
        own = self._floats()
        kept = {name: value.clone() for name, value in own.items()}
        try:
            _copy(self.tensors, own)
            yield
        finally:
            _copy(kept, own)


@torch.no_grad()
def _copy(values: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    """Copy tensors in place, by name."""
    for name, target in into.items():
        target.copy_(values[name])
