"""Check the kernels against the eager code in Triton's interpreter, and compile them for the GPUs, on a CPU."""

from contextlib import ExitStack, contextmanager
from itertools import product
from unittest.mock import patch

import pytest
import torch

from bart import TRANSFORMS
from bart.transforms.denoising import tv as eager
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin
from tests.support.images import photographs

pytest.importorskip("triton")

NAME = "tv_chambolle"
_tile_pixels: object
"""A kernel's function, set by `_tiles_cover`: a Triton program sees only names of its module."""


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(capability):
    assert_transform_compiles(NAME, capability)


def _sizes():
    return [torch.empty(1).expand(1, 3, *size) for size in ((16, 16), (32, 33), (64, 64), (65, 97), (224, 224), (512, 300))]


def test_a_pass_leaves_each_tile_pixels_of_its_own():
    from bart.gpu_kernels.denoising.tv import solver, tiles

    for x in _sizes():
        shape = tiles.tile_shape(x)
        for rows in (shape.alone, shape.coupled):
            span = solver.span(x, rows, shape.columns)
            assert 1 <= span <= solver.LONGEST <= solver._SPAN.value, (x.shape, rows)
            assert min(rows, shape.columns) > 2 * span, (x.shape, rows)


@contextmanager
def _short(epsilon, iterations, longest):
    """Stop both codes sooner, with passes of at most `longest` iterations: the interpreter pays by the operation."""
    import triton.language as tl

    from bart.gpu_kernels.denoising.tv import solver

    with ExitStack() as stack:
        stack.enter_context(patch.multiple(eager, EPSILON=epsilon, ITERATIONS=iterations))
        constants = {"_EPSILON": tl.constexpr(epsilon), "_END": tl.constexpr(iterations - 1)}
        stack.enter_context(patch.multiple(solver, ITERATIONS=iterations, LONGEST=longest, **constants))
        yield


def _tiles_cover() -> None:
    """Check that each pixel is one tile's own, and has as many pixels of that tile around it as iterations are made."""
    import triton
    from triton import language as tl

    from bart.gpu_kernels.denoising.tv import tiles

    global _tile_pixels

    @triton.jit
    def _places_kernel(out, height, width, margin, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
        row, column, own = _tile_pixels(tl.program_id(0), height, width, margin, ROWS, COLUMNS)
        there = (tl.program_id(0) * 3 * ROWS + tl.arange(0, ROWS)[:, None]) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
        tl.store(out + there, row + column * 0)
        tl.store(out + there + ROWS * COLUMNS, column + row * 0)
        tl.store(out + there + 2 * ROWS * COLUMNS, own.to(tl.int32))

    _tile_pixels = tiles.tile_pixels
    for x, margin in product(_sizes(), (1, 4, 7)):
        sides, shape = x.shape[2:], tiles.tile_shape(x)
        count = tiles.plane_tiles(x, shape.coupled, shape.columns, margin)
        found = torch.empty(count, 3, shape.coupled, shape.columns, dtype=torch.int32)
        _places_kernel[(count,)](found, *sides, margin, shape.coupled, shape.columns)
        owners = torch.zeros(*sides, dtype=torch.int32)
        for row, column, own in found:
            own = own.bool()
            owners[row[own], column[own]] += 1
            for places, side in zip((row, column), sides, strict=True):
                first, last = places[own].min(), places[own].max()
                assert first == 0 or first - places.min() >= margin, (x.shape, margin)
                assert last == side - 1 or places.max() - last >= margin, (x.shape, margin)
        assert (owners == 1).all(), (x.shape, margin)


def _compare_stops() -> None:
    """Compare stops in the first pass, in later ones, at the end of one, and none, with several tiles and with one."""
    from bart.gpu_kernels.denoising.tv.transform import tv_chambolle

    stops = ((True, 2e-3, 14, 5), (True, 1e-2, 9, 4), (True, 1e-5, 8, 3), (False, 1e-2, 6, 2))
    for size, (per_channel, epsilon, iterations, longest) in product(((35, 70), (32, 32)), stops):
        photo = photographs(*size, 3)[1:2].contiguous()
        params = {"weight": torch.tensor([0.13]), "per_channel": torch.tensor([per_channel])}
        with _short(epsilon, iterations, longest):
            torch.testing.assert_close(tv_chambolle(photo, params), eager.apply(photo, params), rtol=0, atol=1e-6)


def _compare_whole() -> None:
    """Compare with the real constants, on three channels that stop at different times; one is constant, one has edges."""
    from bart.gpu_kernels.denoising.tv.transform import tv_chambolle

    x = photographs(32, 33)[3:4].contiguous() * 0.2
    x[0, 1] = 0.3
    x[0, 2, :, -1] = x[0, 2, -1] = 1
    params = {"weight": torch.tensor([0.05]), "per_channel": torch.tensor([True])}
    torch.testing.assert_close(tv_chambolle(x, params), eager.apply(x, params), rtol=0, atol=1e-6)


def _compare() -> None:
    assert TRANSFORMS[NAME].eager is eager.apply
    _tiles_cover()
    with _short(1e-2, 4, 2):
        assert_twin(NAME, (32, 33), largest=1e-6, gradient=5e-6, seeds=(0,))
    _compare_stops()
    _compare_whole()


if __name__ == "__main__":
    _compare()
