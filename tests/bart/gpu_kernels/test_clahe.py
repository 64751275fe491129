"""Check CLAHE's kernels against the eager code, equal to the last bit, in the interpreter; and compile them."""

from unittest.mock import patch

import numpy as np
import pytest
import torch

from bart import TRANSFORMS, dispatch
from tests.support.contracts import kernels
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin, images
from tests.support.images import photographs

pytest.importorskip("triton")


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(capability):
    assert_transform_compiles("clahe", capability)


def _fuse():
    """Round once in `tl.fma`, as a GPU and torch's `lerp` do; the interpreter rounds the product as well."""
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    def fma(self, x, y, z):
        return TensorHandle((x.data.astype(np.float64) * y.data + z.data).astype(np.float32), z.dtype.scalar)

    InterpreterBuilder.create_fma = fma


def _assert_equal(x, heights, widths, limits, per_channel):
    """Compare images with tiles and clip limits of their own."""
    params = {
        "per_channel": torch.tensor(per_channel),
        "tile_height": torch.tensor(heights),
        "tile_width": torch.tensor(widths),
        "clip_limit": torch.tensor(limits),
    }
    y = dispatch._load(dispatch.KERNELS["clahe"])(x.requires_grad_(), params)
    truth = TRANSFORMS["clahe"].eager(x, params)
    assert not y.requires_grad and y.data_ptr() != x.data_ptr()
    assert torch.equal(y, truth), f"off by {(y - truth).abs().amax((2, 3)).tolist()}"


def _compare() -> None:
    _fuse()
    with patch.object(kernels, "images", lambda *size: images(*size)[4:]):  # a plane has a hundred tiles
        assert_twin("clahe", (32, 37), largest=0, seeds=(0,))

    x = photographs(140, 150, 1).contiguous()  # more than one block of everything; the tiles leave remainders
    x[0, 1] = (x[0, 1] * 0.91 + 0.013).clamp(0, 1)
    x[0, 2] = (x[0, 2] > 0.4).float() * 0.6  # two levels: excess for several rounds
    # With a limit of 2 there is no room for all 529 counts of a tile, and later rounds leave out the first bins.
    for per_channel in ([True], [False]):
        _assert_equal(x, [[23, 19, 23]], [[23, 23, 20]], [[0.005, 0.04, 0.022]], per_channel)

    x = photographs(60, 90, 3).contiguous()
    x[0, 0], x[0, 1], x[0, 2] = 0.0, 0.37, 1.0  # no contrast, black to white
    x[1, 1] = (x[1, 1] * 3).round() / 3
    x[2] = (x[2] - 0.5).clamp(0, 1)  # black pixels, which have no hue
    tiles = ([[10, 9, 10], [10, 7, 6], [9, 6, 6]], [[10, 10, 9], [9, 10, 6], [7, 6, 6]])
    limits = [[0.04, 0.01, 0.02], [0.04, 0.03, 0.01], [0.02, 0.01, 0.01]]
    _assert_equal(x, tiles[0], tiles[1], limits, [True, True, False])
    _assert_equal(x[:1], tiles[0][:1], tiles[1][:1], limits[:1], [False])


if __name__ == "__main__":
    _compare()
