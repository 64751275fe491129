"""Check how kernels find, clip and mark the images of a part, in Triton's interpreter: empty slots, rows in any order."""

import pytest
import torch

from bart import TRANSFORMS, dispatch
from tests.support.contracts.kernels import assert_interpreted
from tests.support.images import keys, photographs

pytest.importorskip("triton")

GROUPS = {
    "filters": ("fft", "gaussian_blur", "median", "mean", "zoom", "swirl", "jpeg", "hist_eq", "contrast_stretch", "clahe"),
    "bilateral": ("mean_bilateral",),
    "wavelet": ("wavelet",),
    "nl_means": ("nl_means",),
    "solvers": ("tv_chambolle", "seam_carving"),
}
UNTOUCHED = -7.0


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_a_part_is_computed_where_its_table_says(group):
    assert_interpreted(__name__, group)


def _compare(name: str) -> None:
    """Put the image of row 1 at place 2 of the source and at place 0 of the result; the other slot is empty."""
    from bart.gpu_kernels.common.part import Kernel, Part, straight

    kernel, transform, size = dispatch._load(dispatch.KERNELS[name]), TRANSFORMS[name], (16, 17)
    assert isinstance(kernel, Kernel), name
    image = 1.4 * photographs(*size).float()[:1].contiguous() - 0.2  # some values are clipped
    params = transform.draw(keys(3), size)
    table = torch.tensor([[-1, 0, 0, 0], [1, 2, 0, 0]], dtype=torch.int32)
    x, y = torch.full((3, 3, *size), 0.25), torch.full((2, 3, *size), UNTOUCHED)
    x[2] = image[0].clamp(0, 1)
    inside = torch.full(x.shape, 9, dtype=torch.uint8)
    saved = kernel.forward(Part(table, x, y, inside, True, params))

    alone = {key: value[1:2].contiguous() for key, value in params.items()}
    plain = kernel(x[2:], alone)
    assert torch.equal(y[0], plain[0].clamp(0, 1)) and (y[1] == UNTOUCHED).all(), name
    assert torch.equal(inside[1].bool(), plain[0] == plain[0].clamp(0, 1)) and (inside[[0, 2]] == 9).all(), name
    if kernel.backward in (None, straight):
        return
    gradient, out = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), torch.full(x.shape, UNTOUCHED)
    marks = (torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5).to(torch.uint8)
    kernel.backward(Part(table, x, out, marks, True, params, gradient), saved)
    leaf = x[2:].clone().requires_grad_()
    (product,) = torch.autograd.grad(kernel(leaf, alone), leaf, gradient[1:2])
    assert torch.equal(out[1], product[0] * marks[1]) and (out[[0, 2]] == UNTOUCHED).all(), name


if __name__ == "__main__":
    import sys

    for each in GROUPS[sys.argv[1]]:
        _compare(each)
