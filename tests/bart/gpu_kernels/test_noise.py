"""Check the kernel against the eager code in Triton's interpreter, and compile it for the GPUs, on a CPU."""

import pytest
import torch

from bart import TRANSFORMS, dispatch, rng
from bart.transforms.noise import KINDS
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, assert_twin
from tests.support.images import keys, photographs

pytest.importorskip("triton")


def test_the_interpreted_kernel_equals_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_kernel_compiles(capability):
    assert_transform_compiles("noise", capability)


def _images() -> torch.Tensor:
    """Return a photograph, one so dark that all counts are small, floats, and constants."""
    photograph = photographs(47, 61, 1).float().contiguous()
    constants = [torch.full_like(photograph, value) for value in (0.0, 0.5, 1.0, 0.012)]
    return torch.cat([photograph, photograph * 0.04, photograph * 0.83 + 0.011, *constants])


def _compare_kind(kind: int) -> None:
    """Compare in double precision, except for counts: single precision rounds a few of a million of them differently."""
    x, noise, apply = _images(), TRANSFORMS["noise"], dispatch._load(dispatch.KERNELS["noise"])
    params = noise.draw(keys(len(x), 3), (47, 61)) | {"kind": torch.full((len(x),), kind)}
    exact = x.clone() if KINDS[kind] == "poisson" else x.double()
    leaf, twin = x.clone().requires_grad_(), exact.requires_grad_()
    y, truth = apply(leaf, params), noise.eager(twin, params)
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(kind))
    (product,) = torch.autograd.grad(y, leaf, cotangent)
    (expected,) = torch.autograd.grad(truth, twin, cotangent.to(truth.dtype))
    wrong = ((y - truth).abs() > 2e-7) | ((product - expected).abs() > 1e-6)
    assert wrong.float().mean() <= (2e-5 if KINDS[kind] == "poisson" else 0), f"{KINDS[kind]}: {wrong.sum((1, 2, 3)).tolist()}"
    assert ((y - x).abs() > 1e-3).float().mean() > 0.01, f"{KINDS[kind]} changes nothing"


def _compare_a_uniform_of_zero() -> None:
    """Check that a uniform of zero is not a count of zero: the field of this seed holds one."""
    params = {"kind": torch.tensor([KINDS.index("poisson")]), "seed": torch.tensor([14125])}
    assert (rng.field(params["seed"], (3, 32, 33)) == 0).any()
    y = dispatch._load(dispatch.KERNELS["noise"])(torch.ones(1, 3, 32, 33), params)
    assert y.min() > 0.6


def _compare() -> None:
    assert_twin("noise", (32, 33), largest=3e-7, rare=4e-4, gradient=1e-6, seeds=(0,))
    for kind in range(len(KINDS)):
        _compare_kind(kind)
    _compare_a_uniform_of_zero()


if __name__ == "__main__":
    _compare()
