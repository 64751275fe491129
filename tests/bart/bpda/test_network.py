import random

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, relu

from bart.bpda.network import FIELD, WIDTHS, BpdaNet, parameter_count
from bart.transforms import BART_25, TRANSFORMS
from tests.support.bpda_networks import shaken
from tests.support.images import keys, photographs

PARAMETER_COUNTS = {
    "color_precision": 3, "jpeg": 1, "swirl": 4, "noise": 1, "fft": 3, "zoom": 4, "seam_carving": 4, "hsv": 3, "xyz": 3,
    "lab": 3, "yuv": 3, "hist_eq": 3, "clahe": 10, "contrast_stretch": 7, "grey_mix": 3, "grey_partial_mix": 6,
    "grey_two_thirds": 3, "grey_one_channel": 4, "gaussian_blur": 3, "median": 3, "mean": 3, "mean_bilateral": 9,
    "tv_chambolle": 2, "wavelet": 4, "nl_means": 4,
}  # fmt: skip


def test_every_transform_has_its_number_of_parameters():
    assert {name: parameter_count(name) for name in BART_25} == PARAMETER_COUNTS
    with pytest.raises(ValueError, match="gray_mix"):
        BpdaNet("gray_mix")


def test_the_channels_are_those_of_figure_3():
    net = BpdaNet("grey_mix")  # 3 colours, 2 places, 3 parameters
    assert WIDTHS == (16, 22, 32, 45, 64)
    shapes = [tuple(block[0].weight.shape) for block in net.blocks]
    assert shapes == [(16, 8, 5, 5), (22, 24, 5, 5), (32, 30, 5, 5), (45, 40, 5, 5), (64, 53, 5, 5)]
    assert tuple(net.last.weight.shape) == (3, 72, 3, 3) and net.last.bias.shape == (3,)
    assert [type(layer) for layer in net.blocks[0].children()] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert BpdaNet(10).blocks[0][0].in_channels == 15 == BpdaNet("clahe").blocks[0][0].in_channels


def test_the_network_is_the_one_written_out():
    net = shaken(BpdaNet(2, key=5)).double()
    x, parameters = torch.rand(2, 3, 6, 4, dtype=torch.double), torch.tensor([[0.1, 0.9], [0.4, 0.0]], dtype=torch.double)
    image = torch.zeros(2, 7, 6, 4, dtype=torch.double)
    for n in range(2):
        for i in range(6):
            for j in range(4):
                place = [2 * i / 5 - 1, 2 * j / 3 - 1]
                image[n, :, i, j] = torch.tensor([*x[n, :, i, j].tolist(), *place, *parameters[n].tolist()], dtype=torch.double)
    y = image
    for block in net.blocks:
        norm = block[1]
        y = conv2d(y, block[0].weight, padding=2)
        y = (y - norm.running_mean[:, None, None]) / (norm.running_var + norm.eps).sqrt()[:, None, None]
        y = torch.cat([relu(y * norm.weight[:, None, None] + norm.bias[:, None, None]), image], dim=1)
    truth = conv2d(y, net.last.weight, net.last.bias, padding=1)
    torch.testing.assert_close(net(x, parameters), truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
def test_any_size_and_any_batch(size):
    net = shaken(BpdaNet("swirl"))
    x = photographs(*size)
    parameters = TRANSFORMS["swirl"].conditioning(TRANSFORMS["swirl"].draw(keys(4), size), size)
    y = net(x, parameters)
    assert y.shape == x.shape and y.dtype == torch.float32 and y.isfinite().all()
    torch.testing.assert_close(torch.cat([net(x[i : i + 1], parameters[i : i + 1]) for i in range(4)]), y, atol=1e-5, rtol=1e-5)


def test_a_pixel_sees_a_square_of_23():
    net = shaken(BpdaNet(0))
    x = torch.rand(1, 3, 40, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x, torch.zeros(1, 0))[0, :, 20, 20].sum(), x)
    rows, columns = gradient[0].abs().sum(0).nonzero().unbind(1)
    assert FIELD == 23 and (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 31, 9, 31)


def test_the_output_depends_on_the_parameters_and_on_the_place():
    net = shaken(BpdaNet(1))
    flat = torch.full((2, 3, 40, 40), 0.5)
    y = net(flat, torch.tensor([[0.0], [1.0]]))
    assert (y[0] - y[1]).abs().max() > 1e-2
    inside = y[0, :, 14:26, 14:26]  # the padding is out of sight
    assert (inside - inside.transpose(1, 2)).abs().max() > 1e-4 and inside.var(dim=(1, 2)).min() > 1e-8


def test_the_key_alone_decides_the_first_weights():
    state, before = torch.get_rng_state(), random.getstate()
    a, b, other = BpdaNet("jpeg", 1), BpdaNet("jpeg", 1), BpdaNet("jpeg", 2)
    assert torch.equal(torch.get_rng_state(), state) and random.getstate() == before, "a global generator was touched"
    for (name, one), two, three in zip(a.named_parameters(), b.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
        assert one.dim() == 1 or not torch.equal(one, three), name
    first, bound = a.blocks[1][0].weight.detach(), (6 / (22 * 25)) ** 0.5
    assert first.abs().max() <= bound and first.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert torch.equal(a.last.bias, torch.zeros(3))


@pytest.mark.parametrize("name", BART_25)
def test_every_transforms_p_t_fits_its_network(name):
    transform, x = TRANSFORMS[name], photographs(32, 36)[:2]
    parameters = transform.conditioning(transform.draw(keys(2), (32, 36)), (32, 36))
    assert parameters.shape == (2, PARAMETER_COUNTS[name]) and BpdaNet(name).eval()(x, parameters).shape == x.shape
