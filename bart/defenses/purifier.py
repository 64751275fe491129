"""Remove attacks from images by a diffusion model before they are classified: add noise up to some timestep, and go back.

Sources: DiffPure, Nie et al., ICML 2022; the ways back: DDPM, Ho et al., 2020, and DDIM, Song et al., ICLR 2021; the one jump:
Carlini et al., ICLR 2023.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bart.autograd import clip

TIMESTEPS = 1000
"""Timesteps of the diffusion model, from a clean image to noise."""

SAMPLERS = ("ddpm", "ddim", "once")
"""The ways back: random steps, steps without noise, and one jump to what the denoiser sees behind the noise."""

SCHEDULES = ("linear", "cosine")
"""How the share of the image falls with the timestep: of Ho et al., 2020, or of Nichol and Dhariwal, 2021."""


def kept(schedule: str) -> Tensor:
    """Return which share of an image's variance is left at each timestep, (TIMESTEPS,) float32, falling from almost 1."""
    if schedule == "linear":
        return (1 - torch.linspace(1e-4, 0.02, TIMESTEPS, dtype=torch.float64, device="cpu")).cumprod(0).float()
    place = torch.linspace(0, 1, TIMESTEPS + 1, dtype=torch.float64, device="cpu")
    curve = torch.cos((place + 0.008) / 1.008 * math.pi / 2).square()
    return (1 - (1 - curve[1:] / curve[:-1]).clamp_max(0.999)).cumprod(0).float()


class Purifier(nn.Module):
    """Add noise to images and remove it by a denoiser. Its random numbers are torch's: a defense answers these from keys.

    denoiser      (noisy images (n, c, h, w) of mean 0, timesteps (n,) int64) -> the noise in them, or the images behind it;
                  what it returns beyond c channels, such as variances, is left out
    timestep      up to which noise is added, 1 to TIMESTEPS; of 1000, DiffPure takes 100 for CIFAR-10 and 150 for ImageNet
    steps         on the way back, 1 to `timestep`; `once` takes one
    sampler       one of SAMPLERS
    schedule      one of SCHEDULES
    predicts      "noise" or "image": what the denoiser returns
    checkpointed  keep the images between steps only, and run each step again in the backward pass: the gradient is the same,
                  bit for bit
    Raises ValueError for a setting that is none of these.
    """

    kept: Tensor

    def __init__(
        self,
        denoiser: nn.Module,
        timestep: int = 100,
        steps: int = 20,
        sampler: str = "ddpm",
        schedule: str = "linear",
        predicts: str = "noise",
        checkpointed: bool = True,
    ) -> None:
        super().__init__()
        for value, known in ((sampler, SAMPLERS), (schedule, SCHEDULES), (predicts, ("noise", "image"))):
            if value not in known:
                raise ValueError(f"{value!r}: expected one of {', '.join(known)}")
        if not 1 <= timestep <= TIMESTEPS or not 1 <= steps <= timestep:
            raise ValueError(f"{steps} steps from timestep {timestep}: expected 1 to {TIMESTEPS}, in as many steps at most")
        self.denoiser, self.sampler, self.predicts, self.checkpointed = denoiser, sampler, predicts, checkpointed
        count = 1 if sampler == "once" else steps
        self.times = [round(timestep * (count - i) / count) - 1 for i in range(count + 1)]  # the last one, -1, is the image
        self.register_buffer("kept", kept(schedule), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return purified images (n, c, h, w) in [0, 1]."""
        share = self.kept[self.times[0]]
        x = 2 * x - 1
        x = share.sqrt() * x + (1 - share).sqrt() * torch.randn_like(x)
        for now, later in zip(self.times, self.times[1:], strict=False):
            step = partial(self._back, now=now, later=later)
            recorded = self.checkpointed and torch.is_grad_enabled() and x.requires_grad
            x = checkpoint(step, x, use_reentrant=False) if recorded else step(x)
        return clip((x + 1) / 2)

    def _back(self, x: Tensor, now: int, later: int) -> Tensor:
        """Return images (n, c, h, w) at the timestep `later` from those at `now`; -1 is the clean image."""
        share = self.kept[now]
        found = self.denoiser(x, torch.full((len(x),), now, device=x.device, dtype=torch.int64))[:, : x.shape[1]]
        image = found if self.predicts == "image" else (x - (1 - share).sqrt() * found) / share.sqrt()
        image = clip(image, -1, 1)
        if later < 0:
            return image
        noise, next_share = (x - share.sqrt() * image) / (1 - share).sqrt(), self.kept[later]
        fresh = (1 - next_share) / (1 - share) * (1 - share / next_share) if self.sampler == "ddpm" else 0 * share
        x = next_share.sqrt() * image + (1 - next_share - fresh).sqrt() * noise
        return x + fresh.sqrt() * torch.randn_like(x) if self.sampler == "ddpm" else x
