"""The kernels against their eager twins in Triton's interpreter on the CPU, and through its compiler for the GPUs' targets."""

import pytest
import torch

from bart import disks, kernels
from bart.transforms import rank as eager
from tests.bart.kernels.checks import TARGETS, assert_interpreted

pytest.importorskip("triton")

POINTERS = {"gradient": "*fp32", "shares": "*fp32", "radii": "*i32", "s0s": "*i32", "s1s": "*i32"}


def test_a_cpu_has_no_kernels():
    assert not kernels.available(torch.zeros(1))


def test_interpreted_kernels_equal_their_twins():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(capability, tmp_path, monkeypatch):
    """Down to machine code, without a GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from bart.kernels import rank

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for kernel in (rank._median_kernel, rank._share_kernel, rank._gather_kernel, rank._mean_bilateral_kernel):
        scalars = {"height": "i32", "width": "i32", "TILE_H": "constexpr", "TILE_W": "constexpr"}
        signature = {name: scalars.get(name, POINTERS.get(name, "*u8")) for name in kernel.arg_names}
        if "gradient" in signature or "shares" in signature:
            signature["out"] = "*fp32"
        tile = {"TILE_H": rank.TILE_H, "TILE_W": rank.TILE_W}
        constants = {(kernel.arg_names.index(name),): value for name, value in tile.items()}
        compiled = compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32))
        assert compiled.asm["cubin"]


def _compare() -> None:
    from bart.kernels import rank

    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(90, 110, (2, 18, 53), generator=generator, dtype=torch.uint8)  # four tiles a plane, ties
    levels[0, :6] = 0
    levels[1, :, :9] = 255
    radius = torch.tensor([2, 3])
    median = rank.median(levels, radius)
    assert torch.equal(median, disks.each(eager._median, radius, (2, 5), levels)), "median"

    gradient = torch.randn(levels.shape, generator=generator)
    shared = disks.each(eager._median_backward, radius, (2, 5), levels, median, gradient)
    torch.testing.assert_close(rank.median_backward(levels, median, gradient, radius), shared, rtol=1e-5, atol=1e-6)

    radius, s0, s1 = torch.tensor([2, 4]), torch.tensor([5, 8]), torch.tensor([12, 5])
    twin = disks.each(eager._mean_bilateral, radius, (2, 20), s0, s1, levels)
    assert torch.equal(rank.mean_bilateral(levels, radius, s0, s1), twin), "mean bilateral"


if __name__ == "__main__":
    _compare()
