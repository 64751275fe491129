"""Reduce images to their low spatial frequencies, by the orthonormal discrete cosine transform (DCT-II).

Source: Sharma, Ding, Brubaker, IJCAI 2019 (perturbations in them pass defenses that remove high frequencies).
"""

import math
from functools import lru_cache

import torch
from torch import Tensor


def dct(side: int) -> Tensor:
    """Return the orthonormal DCT-II of signals of `side` values, (side, side) float64: row f is the cosine of frequency f."""
    place = torch.arange(side, dtype=torch.float64, device="cpu")
    cosines = torch.cos(math.pi * place[:, None] * (2 * place + 1) / (2 * side)) * math.sqrt(2 / side)
    cosines[0] /= math.sqrt(2)
    return cosines


@lru_cache(maxsize=16)
def _projection(side: int, share: float, device: torch.device) -> Tensor:
    """Return the matrix that keeps the lowest frequencies of a side: its share, rounded, and at least one."""
    kept = dct(side)[: max(1, round(share * side))]
    return (kept.T @ kept).float().to(device)


def low_frequencies(x: Tensor, share: float) -> Tensor:
    """Return images (..., h, w) without the frequencies above `share`, in (0, 1], of those of each side; 1 keeps all.

    Entries that are not finite count as 0 and stay as they are.
    """
    if share == 1:
        return x
    rows, columns = (_projection(side, share, x.device) for side in x.shape[-2:])
    return torch.where(x.isfinite(), rows @ x.nan_to_num(0, 0, 0) @ columns, x)
