import itertools
import warnings

import numpy as np
import pytest
import torch
from skimage import color as skimage_color

from bart import autograd
from bart.transforms import color
from tests.support.images import photographs

SPACES = ("hsv", "xyz", "lab", "yuv")
SCALES = {"hsv": 1, "xyz": 1, "lab": 100, "yuv": 1}


def colours() -> torch.Tensor:
    """Return photographs and every mixture of a few levels, with black, white, greys and pure colours: (5, 3, 40, 42)."""
    levels = [0, 1, 2, 10, 64, 128, 200, 250, 254, 255]
    grid = torch.tensor(list(itertools.product(levels, repeat=3)))
    grid = grid.repeat(2, 1)[: 40 * 42].T.reshape(1, 3, 40, 42) / 255
    return torch.cat([photographs(40, 42), grid])


def last(x: torch.Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).double().numpy()


@pytest.mark.parametrize("space", SPACES)
def test_conversions_are_those_of_scikit_image(space):
    x = colours()
    forth, back = getattr(color, f"rgb_to_{space}"), getattr(color, f"{space}_to_rgb")
    truth = getattr(skimage_color, f"rgb2{space}")(last(x))
    np.testing.assert_allclose(last(forth(x)), truth, atol=2e-6 * SCALES[space])
    np.testing.assert_allclose(last(forth(x.double())), truth, atol=1e-12 * SCALES[space])
    torch.testing.assert_close(back(forth(x)), x, atol=3e-5, rtol=0)

    moved = truth + np.random.default_rng(0).uniform(-0.4, 0.4, truth.shape) * SCALES[space]
    if space == "hsv":
        moved = np.clip(moved, 0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rgb = getattr(skimage_color, f"{space}2rgb")(moved)
    ours = back(torch.from_numpy(moved).permute(0, 3, 1, 2))
    np.testing.assert_allclose(last(ours), rgb, atol=1e-12)


def test_the_ends_of_the_hue():
    hsv = torch.tensor([0, 1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6, 1]).double()[None, None, None].repeat(1, 3, 1, 1)
    hsv[:, 1:] = 1
    rgb = color.hsv_to_rgb(hsv)[0, :, 0].T
    truth = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]]
    torch.testing.assert_close(rgb, torch.tensor(truth).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("space", SPACES)
def test_gradients_are_finite_everywhere(space):
    forth, back = getattr(color, f"rgb_to_{space}"), getattr(color, f"{space}_to_rgb")
    values = [0, 1e-40, 1e-20, 1e-7, 1e-6, 2e-6, 1e-3, 0.5, 0.5 + 1e-7, 0.5 + 2e-6, 1 - 1e-6, 1]
    rgb = torch.tensor(list(itertools.product(values, repeat=3))).T.reshape(1, 3, 12, -1).requires_grad_()
    for y in (forth(rgb), back(forth(rgb))):
        for weight in (torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.0, 0.0, 1.0])):
            (gradient,) = torch.autograd.grad((y * weight[:, None, None]).sum(), rgb, retain_graph=True)
            assert torch.isfinite(y).all() and torch.isfinite(gradient).all()


def test_constants_made_in_inference_mode_serve_a_backward_pass():
    color.constant.cache_clear()
    with torch.inference_mode():
        color.rgb_to_lab(photographs(32, 32))
    x = photographs(32, 32).clone().requires_grad_()
    torch.autograd.grad(color.rgb_to_lab(x).sum(), x)


def test_clip_lets_the_gradient_through_at_its_ends():
    x = torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.1], requires_grad=True)
    y = autograd.clip(x)
    (gradient,) = torch.autograd.grad((2 * y).sum(), x)
    assert y.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0] and gradient.tolist() == [0.0, 2.0, 2.0, 2.0, 0.0]
    assert torch.equal(autograd.clip(x.detach()), y)
