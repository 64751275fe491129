"""List every built-in defense with settings for small images: what holds for all of them is tested on this table."""

import torch
from torch import nn

from bart.defenses import (
    Barrage,
    BitDepth,
    Compose,
    CropEnsemble,
    Gaussian,
    Jpeg,
    Purifier,
    RandomModule,
    ResizePad,
    TotalVariation,
)


class Noisy(nn.Module):
    """Noise of a stranger, by torch's own operations."""

    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


class Shaken(nn.Module):
    """One random number for all images: they run one by one."""

    def forward(self, x):
        return (x * float(1 - 0.2 * torch.rand(()))).clamp(0, 1)


class Linear(nn.Module):
    """A denoiser of the simplest kind."""

    def forward(self, x, times):
        return 0.3 * x


RANDOM = {
    "barrage": Barrage(2, ("color_precision", "grey_mix", "gaussian_blur", "zoom")),
    "gaussian": Gaussian(0.1),
    "gaussian clipped": Gaussian(0.1, clip=True),
    "resize_pad": ResizePad(),
    "resize_pad in pixels": ResizePad(17, 26),
    "crop_ensemble": CropEnsemble(3, 0.6),
    "bit_depth": BitDepth(1, 8),
    "jpeg": Jpeg(50, 100),
    "tv": TotalVariation(),
    "module": RandomModule(Noisy),
    "module by row": RandomModule(Shaken),
    "purifier": RandomModule(lambda: Purifier(Linear(), 50, 3)),
    "compose": Compose((Gaussian(0.05), ResizePad(), Barrage(1, ("color_precision", "grey_mix")), Jpeg(60, 90))),
    "compose with crops": Compose((ResizePad(), BitDepth(2, 5), CropEnsemble(2, 0.7))),
    "compose with a module": Compose((RandomModule(Shaken), RandomModule(Noisy))),
}
"""Defenses whose draws differ, by a name."""

CONSTANT = {
    "no noise": Gaussian(0.0),
    "3 bits": BitDepth(),
    "quality 75": Jpeg(),
    "whole crops": CropEnsemble(2, 1.0),
    "all values kept": TotalVariation(1.0),
    "no transforms": Barrage(0),
    "two constants": Compose((BitDepth(), Jpeg())),
}
"""Defenses that do the same in every draw."""
