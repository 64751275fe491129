import pytest
import torch

from bart.transforms.denoising.nl_means import NL_MEANS
from tests.support.contracts.kernels import TARGETS, assert_interpreted, assert_transform_compiles, images

pytest.importorskip("triton")


@pytest.mark.slow
def test_the_interpreted_kernels_equal_the_eager_code():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_kernels_compile(capability):
    assert_transform_compiles("nl_means", capability)


def _compare():
    """Compare with distances shorter than any that is drawn: a shift takes the interpreter as long as an image a GPU."""
    from bart.gpu_kernels.denoising.nl_means import nl_means

    x = images(33, 35)[[0, 1, 2, 3, 5]]  # two tiles across, the second one of few columns; five down, the last of one row
    x[:4] += 0.06 * torch.randn(x[:4].shape, generator=torch.Generator().manual_seed(0))
    x = x.clamp(0, 1)
    x[4, 1, :, 20:] = 0.75  # an edge, and still no noise
    params = {
        "h": torch.tensor([0.6, 0.75, 0.9, 1.1, 0.8]),
        "patch": torch.tensor([5, 6, 7, 5, 7]),
        "distance": torch.tensor([2, 1, 1, 1, 1]),
        "per_channel": torch.tensor([False, False, True, True, False]),
    }
    with torch.no_grad():
        twin, ours = NL_MEANS.eager(x, params), nl_means(x, params)
    assert (twin - x).abs()[:4].amax((1, 2, 3)).min() > 0.01, "the test denoises nothing"
    torch.testing.assert_close(ours, twin, atol=2e-6, rtol=0)


if __name__ == "__main__":
    _compare()
