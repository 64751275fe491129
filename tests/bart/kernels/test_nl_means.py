"""The kernel against its eager twin in Triton's interpreter on the CPU, and through its compiler for the GPUs' targets."""

import pytest
import torch

from bart.transforms import nl_means as eager
from tests.bart.kernels.checks import TARGETS, assert_interpreted

pytest.importorskip("triton")


def test_the_interpreted_kernel_equals_its_twin():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_kernel_compiles(capability, tmp_path, monkeypatch):
    """Down to machine code, without a GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from bart.kernels import nl_means

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = nl_means._nl_means_kernel
    types = {"padded": "*fp32", "scales": "*fp32", "out": "*fp32", "TILE_H": "constexpr", "TILE_W": "constexpr"}
    types |= {name: "*i32" for name in ("radii", "distances", "joints")}
    signature = {name: types.get(name, "i32") for name in kernel.arg_names}
    tile = {"TILE_H": nl_means.TILE_H, "TILE_W": nl_means.TILE_W}
    constants = {(kernel.arg_names.index(name),): value for name, value in tile.items()}
    compiled = compile(
        ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32), options=nl_means.SCHEDULE
    )
    assert compiled.asm["cubin"]


def _compare() -> None:
    from bart.kernels.nl_means import nl_means

    generator, margin = torch.Generator().manual_seed(0), eager.MARGIN
    x = torch.rand(4, 3, 29, 61, generator=generator) * 0.2 + torch.linspace(0, 1, 61)  # four tiles, each of another size
    x[3] = 0.5
    padded = torch.nn.functional.pad(x, (margin,) * 4, mode="reflect")
    radius, distance, joint = torch.tensor([2, 3, 2, 3]), torch.tensor([1, 1, 2, 1]), torch.tensor([False, True, True, False])
    scale = 1 / ((1 + 2 * joint) * (0.04 * (2 * radius + 1)) ** 2)
    scale[3] = eager.STEEPEST
    numbers = (scale, radius, distance, joint)
    twin = eager._eager(padded, *numbers)
    assert (twin - x).abs()[:3].amax((1, 2, 3)).min() > 0.01, "the test denoises nothing"
    torch.testing.assert_close(nl_means(padded, margin, *numbers), twin, atol=2e-6, rtol=0)


if __name__ == "__main__":
    _compare()
