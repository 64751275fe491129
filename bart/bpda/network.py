"""Define the BPDA network: a small convolutional network that imitates one transform, so that its derivative can replace it.

Source: figure 3 and section 4 of Raff et al., CVPR 2019; CoordConv: Liu et al., NeurIPS 2018.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from bart import rng
from bart.transforms import TRANSFORMS
from bart.types import REFERENCE, Size

WIDTHS = (16, 22, 32, 45, 64)
"""Channels that each block adds; they grow by about sqrt 2."""

FIELD = 23
"""Side of the square of pixels on which one output pixel depends: five 5x5 convolutions and a 3x3."""


@lru_cache
def parameter_count(name: str) -> int:
    """Return |P(t)|, how many numbers the network of a transform takes besides the image.

    Raises ValueError for an unknown transform.
    """
    size = (REFERENCE, REFERENCE)
    return (
        TRANSFORMS[name]
        .conditioning(TRANSFORMS[name].draw(torch.zeros(1, dtype=torch.int64, device="cpu"), size), size)
        .shape[1]
    )


class BpdaNet(nn.Module):
    """Imitate one transform: forward(x, conditioning) -> y.

    of          the transform's name, or |P(t)|, the width of its conditioning
    key         decides the initial weights (He et al., ICCV 2015), without any global generator
    Each block is a 5x5 convolution, BatchNorm and ReLU; the input is concatenated again after it. A 3x3 convolution ends the
    network. Raises ValueError for an unknown transform.
    """

    def __init__(self, of: str | int, key: int = 0) -> None:
        super().__init__()
        self.parameter_count = parameter_count(of) if isinstance(of, str) else of
        inputs = channels = 3 + 2 + self.parameter_count
        blocks = []
        for width in WIDTHS:
            convolution = nn.utils.skip_init(nn.Conv2d, channels, width, 5, padding=2, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
            channels = width + inputs
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.utils.skip_init(nn.Conv2d, channels, 3, 3, padding=1)
        self._initialise(key)

    @torch.no_grad()
    def _initialise(self, key: int) -> None:
        """Set the initial weights from a key."""
        keys = torch.tensor([key], device="cpu", dtype=torch.int64)
        for name, weight in self.named_parameters():
            if weight.dim() == 4:
                bound = math.sqrt((3 if name == "last.weight" else 6) / weight[0].numel())  # no ReLU follows the last
                weight.copy_(rng.field(rng.fold(keys, name), tuple(weight.shape))[0] * (2 * bound) - bound)
        nn.init.zeros_(self.get_parameter("last.bias"))

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        """Return the network's guess of the transform's output, (n, 3, h, w), not clipped.

        x (n, 3, h, w) in [0, 1], of any size; conditioning (n, |P(t)|) in [0, 1], see `Transform.conditioning`. In train mode
        images of a batch share their statistics; in eval mode each is on its own.
        """
        size = (x.shape[-2], x.shape[-1])
        parameters = conditioning.to(x.dtype)[:, :, None, None].expand(-1, -1, *size)
        image = torch.cat([x, _coordinates(size, x).expand(len(x), -1, -1, -1), parameters], dim=1)
        y = image
        for block in self.blocks:
            y = torch.cat([block(y), image], dim=1)
        return self.last(y)


def _coordinates(size: Size, like: Tensor) -> Tensor:
    """Return each pixel's row and column, from -1 to 1, (1, 2, h, w)."""
    rows, columns = (torch.linspace(-1, 1, side, device=like.device, dtype=like.dtype) for side in size)
    return torch.stack([rows[:, None].expand(size), columns[None].expand(size)])[None]
