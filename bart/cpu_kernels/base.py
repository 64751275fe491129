"""Run a NumPy routine over the images of a batch, one image per thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

Image = np.ndarray[Any, np.dtype[Any]]
"""A NumPy array of one image or plane."""


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the pool of threads, made once."""
    return ThreadPoolExecutor(threads, thread_name_prefix="bart")


def each(function: Callable[[int], None], count: int) -> None:
    """Call `function(i)` for i in 0..count - 1, in as many threads as torch uses."""
    if torch.get_num_threads() == 1 or count == 1:
        for i in range(count):
            function(i)
    else:
        list(_pool(torch.get_num_threads()).map(function, range(count)))


def map_images(function: Callable[[Image, dict[str, Image]], Image], x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Return `function(image, parameters of this image)` for each image of `x` (n, 3, h, w) on the CPU, in the type of `x`.

    `function` takes contiguous (3, h, w) float32, however `x` lies in memory, and returns such an image. It must not write into
    its input. It has no gradient.
    """
    images = x.detach().float().contiguous().numpy()
    values = {name: value.numpy() for name, value in params.items()}
    out = torch.empty_like(x, dtype=torch.float32, memory_format=torch.contiguous_format)
    target = out.numpy()

    def one(i: int) -> None:
        target[i] = function(images[i], {name: value[i] for name, value in values.items()})

    each(one, len(x))
    return out.to(x.dtype)
