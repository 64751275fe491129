"""Check seam carving's kernels against the eager code in Triton's interpreter, and compile them for the GPUs."""

from unittest.mock import patch

import pytest
import torch

from bart.transforms import seam_carving as eager
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin, images

pytest.importorskip("triton")


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("side", [16, 32, 96, 97, 224, 299, 512, 1024])
@pytest.mark.parametrize("ways", [1, 3, 4])
def test_windows_cover_a_row_and_support_a_block(side, ways):
    """What is wrong at the ends of a window spreads by a column in each row."""
    from bart.gpu_kernels.seam_carving.layout import LANES, PARTS, windows

    share, edge, pitch = windows(side, ways)
    own = (LANES - 2 * edge) * share
    assert PARTS * own >= side and edge * share >= ways and pitch > PARTS * own + 2 * edge * share and pitch % 8 == 0


@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(capability):
    assert_transform_compiles("seam_carving", capability)


def _params(both, vertical, count):
    return {"both": torch.tensor(both), "vertical": torch.tensor(vertical), "count": torch.tensor(count)}


def _compare_seams(x, params):
    """Compare with both of the eager searches, pixel for pixel; `place` must be the inverse."""
    from bart.gpu_kernels.common.part import Part, whole_table
    from bart.gpu_kernels.seam_carving.kept import kept_pixels

    kept, place = kept_pixels(Part(whole_table(len(x), x.device), x, x, x, False, params))
    for compiled in (True, False):
        with patch.object(eager, "fits", lambda x, compiled=compiled: compiled):
            twin = eager.kept_pixels(x, params)
        for i, (columns, rows) in enumerate(zip(*(c.tolist() for c in eager._counts(params)), strict=True)):
            height, width = x.shape[2] - rows, x.shape[3] - columns
            assert torch.equal(kept[i, :height, :width].long(), twin[i, :height, :width]), f"image {i}"
    for i, (columns, rows) in enumerate(zip(*(c.tolist() for c in eager._counts(params)), strict=True)):
        truth = torch.full(x.shape[2:], -1, dtype=torch.int32).flatten()
        carved = torch.arange(truth.numel(), dtype=torch.int32).view(x.shape[2:])[: x.shape[2] - rows, : x.shape[3] - columns]
        truth[kept[i, : x.shape[2] - rows, : x.shape[3] - columns].long()] = carved
        assert torch.equal(place[i].flatten(), truth), f"image {i}"


def _compare():
    from bart.gpu_kernels.seam_carving import kept

    photos = images(33, 100)  # odd rows, two columns a lane, warps that own columns and one that owns none
    x = torch.stack([photos[0], (photos[1] > 0.5).float(), photos[5]])  # two levels and a constant: full of ties
    _compare_seams(x, _params([True, True, False], [False, True, False], [[2, 1], [2, 2], [9, 2]]))
    photos = images(67, 32)  # a column a lane
    ways = kept._ways
    assert [ways(side) for side in (32, 256, 512, 1024)] == [4, 4, 3, 3]
    for kept._ways in (lambda rows: 3, lambda rows: 1):
        _compare_seams((photos[:1] > 0.4).float(), _params([False], [True], [[2, 1]]))
    kept._ways = ways
    assert_twin("seam_carving", (32, 33), largest=1e-5, gradient=1e-5, seeds=(0,))


if __name__ == "__main__":
    _compare()
