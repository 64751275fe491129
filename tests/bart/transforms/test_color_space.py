import pytest
import torch

from bart.transforms import color_space
from tests.oracles import color_space as oracles
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity
from tests.support.images import keys, photographs

ALL = [color_space.HSV, color_space.XYZ, color_space.LAB, color_space.YUV]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: t.name)
def test_color_spaces_are_their_definition(transform):
    assert_fidelity(transform, getattr(oracles, transform.name), mean=0.001, tail=0.01)
    assert_contract(transform)
    assert_exact_gradient(transform, step=1e-8)  # the slope of a nearly grey pixel's hue changes within less than 1e-6


@pytest.mark.parametrize("transform", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
def test_the_ends_of_the_offsets(transform, position):
    x = torch.cat([photographs(32, 32), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)])
    params = {"position": torch.full((6, 3), position)}
    y = transform.unclipped(x, params)
    for i, image in enumerate(x.permute(0, 2, 3, 1).double().numpy()):
        truth = torch.from_numpy(getattr(oracles, transform.name)(image, {"position": params["position"][i].numpy()}))
        torch.testing.assert_close(y[i].permute(1, 2, 0).double(), truth, atol=1e-5, rtol=0)
    if position == 0.5 and transform.name != "xyz":  # the clip of XYZ alters a bright blue, offset or not
        torch.testing.assert_close(y, x, atol=2e-5, rtol=0)


def test_positions_fill_the_range_and_are_drawn_per_channel():
    params = color_space.HSV.draw(keys(4000), (224, 224))
    position = params["position"]
    assert position.shape == (4000, 3) and position.min() < 1e-3 and 0.999 < position.max() < 1
    assert (position.mean(0) - 0.5).abs().max() < 0.02
    assert torch.corrcoef(position.T).fill_diagonal_(0).abs().max() < 0.06
    assert torch.equal(color_space.HSV.conditioning(params, (224, 224)), position)
