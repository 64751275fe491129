import numpy as np
import torch

from bart.transforms import fft
from bart.transforms.fft import FFT
from tests.oracles.fft import fft as oracle
from tests.support.contracts.transforms import assert_contract, assert_exact_gradient, assert_fidelity
from tests.support.images import keys, photographs


def test_fft_is_its_definition():
    assert_fidelity(FFT, oracle, mean=0.001, tail=0.01)
    assert_contract(FFT)
    assert_exact_gradient(FFT)


def test_the_band_is_cut_where_python_truncates():
    edges = torch.cat([torch.arange(0, 33) / 64, torch.tensor([0.1, 0.2, 0.3, 0.7, 0.95]), torch.rand(500)])
    edges = edges[: len(edges) // 3 * 3].view(-1, 3)
    for side in (32, 97, 224, 250):
        kept, mirrored = fft._kept(edges, side, side)
        for i in range(len(edges)):
            for c in range(3):
                keep, truth = float(edges[i, c]), np.ones(side, bool)
                truth[int(keep * side) : int((1 - keep) * side)] = False
                assert (kept[i, c].numpy() == truth).all(), f"keep {keep} of {side}"
                assert (mirrored[i, c].numpy() == truth[-np.arange(side) % side]).all(), f"keep {keep} of {side}, mirrored"


def test_nothing_is_cut_from_one_half_on_and_the_factors_are_shared():
    x = photographs(40, 36)[:, :1].repeat(1, 3, 1, 1)
    params = FFT.draw(keys(4), (40, 36)) | {"keep": torch.tensor([[0.5, 0.7, 0.94]] * 4)}
    y = FFT.apply(x, params)
    assert torch.equal(y[:, 0], y[:, 1]) and torch.equal(y[:, 1], y[:, 2])
    assert 0.001 < (y - x).abs().mean() < 0.02


def test_everything_but_the_factor_of_the_mean_goes_at_keep_zero():
    y = FFT.apply(photographs(32, 32), FFT.draw(keys(4), (32, 32)) | {"keep": torch.zeros(4, 3)})
    assert y.abs().max() < 1e-6


def test_draw_ranges():
    params = FFT.draw(keys(4000), (224, 224))
    assert params["keep"].shape == (4000, 3) and params["seed"].shape == (4000,)
    assert params["keep"].min() < 0.002 and 0.948 < params["keep"].max() <= 0.95
    assert abs(params["keep"].mean() - 0.475) < 0.01
    assert abs(np.corrcoef(params["keep"].T.numpy())[0, 1]) < 0.06, "the channels are drawn apart"
    factors = fft.factors(params["seed"][:8], (64, 48))
    assert factors.shape == (8, 64, 48) and len(params["seed"].unique()) == 4000
    assert 0.98 <= factors.min() < 0.9801 and 1.0199 < factors.max() <= 1.02 + 1e-6
