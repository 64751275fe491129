"""Give tests small photographs, and the random keys of images."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bart import rng


def photographs(height: int, width: int, count: int = 4) -> Tensor:
    """Return real photographs, (count, 3, height, width) float32 in [0, 1] whose values are levels of 8 bits."""
    return _photographs(height, width, count).clone()


@lru_cache
def _photographs(height: int, width: int, count: int) -> Tensor:
    from skimage import data, transform

    images = []
    for name in ("astronaut", "coffee", "chelsea", "rocket")[:count]:
        image = transform.resize(getattr(data, name)(), (height, width), anti_aliasing=True)
        images.append(np.round(image * 255).astype(np.uint8))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def keys(count: int, seed: int = 0) -> Tensor:
    """Return the random keys of images 0 to count - 1, (count,) int64."""
    return torch.tensor([rng.key(seed, i) for i in range(count)])


def with_black_and_white(count, shape=(3, 5, 4), seed=0):
    """Return random 8-bit images with a third of their values black or white, as floats."""
    levels = torch.randint(-128, 384, (count, *shape), generator=torch.Generator().manual_seed(seed)).clamp(0, 255)
    return levels.float() / 255


def noise(like, seed=1):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))
