import torch

from bart.transforms.swirl import SWIRL
from tests.oracles.swirl import swirl
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity
from tests.support.images import keys, photographs


def test_swirl_is_scikit_images():
    assert_fidelity(SWIRL, swirl, mean=0.01, tail=0.05)
    assert_contract(SWIRL)
    assert_exact_gradient(SWIRL)


def test_ranges_scale_x_with_the_width_and_y_with_the_height():
    for height, width, radius in ((256, 256, (10, 200)), (128, 512, (20, 400)), (32, 32, (1, 25))):
        params = SWIRL.draw(keys(20_000), (height, width))
        x, y = params["center"].unbind(1)
        assert (x.min(), x.max()) == (max(1, width // 256), width) and (y.min(), y.max()) == (1, height)
        assert (params["radius"].min(), params["radius"].max()) == radius
        strength = params["strength"]
        assert 0.01 <= strength.min() < 0.012 and 1.998 < strength.max() < 2 and abs(strength.mean() - 1.005) < 0.02


def test_integers_are_uniform_and_the_parameters_independent():
    params = SWIRL.draw(keys(51_200), (256, 256))
    counts = torch.bincount(params["center"][:, 0])[1:]
    assert len(counts) == 256 and abs(counts - 200).max() < 5 * 200**0.5
    columns = torch.stack([params["strength"], *params["center"].unbind(1), params["radius"]]).double()
    assert (torch.corrcoef(columns) - torch.eye(4)).abs().max() < 0.02


def test_the_swirl_dies_out_and_its_centre_stays():
    x = photographs(64, 96)
    params = {"strength": torch.full((4,), 2.0), "center": torch.tensor([[20, 30]] * 4), "radius": torch.full((4,), 20)}
    y = SWIRL.apply(x, params)
    torch.testing.assert_close(y[..., 30, 20], x[..., 30, 20], atol=1e-5, rtol=0)
    torch.testing.assert_close(y[..., 60:], x[..., 60:], atol=1e-4, rtol=0)
    assert (y - x)[..., 25:35, 15:25].abs().mean() > 0.01
