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
