import pytest
import torch

from bart.transforms.denoising import gaussian
from bart.transforms.denoising.gaussian import GAUSSIAN_BLUR, apply
from tests.oracles.gaussian import gaussian_blur
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity
from tests.support.images import keys, photographs


def test_is_scikit_images_to_float_precision():
    assert_fidelity(GAUSSIAN_BLUR, gaussian_blur, mean=1e-3, tail=1e-2)


def test_contract():
    assert_contract(GAUSSIAN_BLUR)


def test_gradient_is_exact():
    assert_exact_gradient(GAUSSIAN_BLUR)


@pytest.mark.parametrize("sigma", [0.1, 0.124, 0.126, 0.374, 0.376, 1.0, 2.874, 2.876, 3.0])
def test_windows_end_where_scipys_do(sigma):
    """Test both sides of the sigmas at which int(4 sigma + 0.5) steps, on an image smaller than the widest window."""
    x = photographs(9, 21).double()
    ours = apply(x, {"sigma": torch.full((len(x), 3), sigma, dtype=torch.double)}).permute(0, 2, 3, 1).numpy()
    for image, blurred in zip(x.permute(0, 2, 3, 1).numpy(), ours, strict=True):
        assert abs(gaussian_blur(image, {"sigma": [sigma] * 3}) - blurred).max() < 1e-12


def test_chunks_change_nothing(monkeypatch):
    x = photographs(32, 40)
    params = GAUSSIAN_BLUR.draw(keys(4), (32, 40))
    whole = apply(x, params)
    monkeypatch.setattr(gaussian, "CHUNK_CPU", 5 * 32 * 40)
    torch.testing.assert_close(apply(x, params), whole, atol=1e-6, rtol=0)


def test_a_device_is_never_waited_for():
    """Use tensors without values, which raise if anything depends on a value."""
    x = torch.empty(2, 3, 32, 40, device="meta", requires_grad=True)
    y = apply(x, {"sigma": torch.empty(2, 3, device="meta")})
    assert y.shape == torch.autograd.grad(y.sum(), x)[0].shape == x.shape


def test_channels_are_blurred_apart():
    x = photographs(32, 32)[:1]
    y = apply(x, {"sigma": torch.tensor([[0.1, 1.0, 3.0]])})
    assert torch.equal(y[:, 0], x[:, 0])
    assert (y[:, 1] - x[:, 1]).abs().mean() < (y[:, 2] - x[:, 2]).abs().mean()


def test_draws():
    sigma = GAUSSIAN_BLUR.draw(keys(20000), (32, 32))["sigma"]
    assert sigma.shape == (20000, 3) and sigma.min() >= 0.1 and sigma.max() <= 3.0
    assert sigma.min() < 0.11 and sigma.max() > 2.99 and abs(sigma[:, 2].mean() - 1.55) < 0.03
    shared = (sigma == sigma[:, :1]).all(dim=1)
    assert abs(shared.float().mean() - 0.5) < 0.02
    assert not (sigma[~shared][:, 1] == sigma[~shared][:, 2]).any()
    assert torch.equal(sigma, GAUSSIAN_BLUR.draw(keys(20000), (224, 160))["sigma"])
