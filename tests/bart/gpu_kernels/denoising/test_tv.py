"""Check the kernels against the eager code in Triton's interpreter, and compile them for the GPUs, on a CPU."""

from contextlib import ExitStack, contextmanager
from itertools import pairwise
from unittest.mock import patch

import pytest
import torch

from bart import TRANSFORMS
from bart.transforms.denoising import tv as eager
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin
from tests.support.images import photographs

pytest.importorskip("triton")

NAME = "tv_chambolle"


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(capability):
    assert_transform_compiles(NAME, capability)


def test_programs_never_exceed_their_buffers():
    """Check many sizes: a problem's strips fit the sum of their energies and are not empty; no launch exceeds the longest."""
    from bart.gpu_kernels.denoising.tv import solver, strips

    bounds = (*solver.STARTS, eager.ITERATIONS - 1)
    spans = [end - begin for begin, end in pairwise(bounds)]
    assert min(spans) > 0 and max(spans) <= solver.LONGEST <= solver._SPAN.value
    for n in (1, 2, 7, 50):
        for height in (32, 33, 97, 224, 512, 4096):
            parts, programs, _ = strips.cut_strips(torch.empty(1).expand(n, 3, height, 40), solver.LONGEST, 2, solver.FIELDS)
            assert programs == 3 * n * parts and 3 * parts <= min(strips.PARTS, height)


@contextmanager
def _short(epsilon, iterations, starts):
    """Stop both codes sooner: the interpreter needs a tenth of a second for an iteration of a program."""
    import triton.language as tl

    from bart.gpu_kernels.denoising.tv import solver

    with ExitStack() as stack:
        stack.enter_context(patch.multiple(eager, EPSILON=epsilon, ITERATIONS=iterations))
        constants = {"_EPSILON": tl.constexpr(epsilon), "_END": tl.constexpr(iterations - 1)}
        stack.enter_context(patch.multiple(solver, ITERATIONS=iterations, STARTS=starts, **constants))
        yield


def _compare_stops() -> None:
    """Compare stops in the first launch, in later ones, and none, with strips of unequal heights."""
    from bart.gpu_kernels.denoising.tv.transform import tv_chambolle

    photo = photographs(35, 40, 3)[1:2].contiguous()
    for per_channel, epsilon, iterations, starts in (
        (True, 2e-3, 14, (0, 5, 8)),
        (True, 1e-2, 9, (0, 4)),
        (True, 1e-5, 8, (0, 3, 6)),
        (False, 1e-2, 6, (0, 4)),
    ):
        params = {"weight": torch.tensor([0.13]), "per_channel": torch.tensor([per_channel])}
        with _short(epsilon, iterations, starts):
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
    with _short(1e-2, 4, (0, 2)):
        assert_twin(NAME, (32, 33), largest=1e-6, gradient=5e-6, seeds=(0,))
    _compare_stops()
    _compare_whole()


if __name__ == "__main__":
    _compare()
