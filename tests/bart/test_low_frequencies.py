from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import fft

from bart import Ball, DualAveraging, Eot, Goal, Pgd
from bart.gradient import gradient
from bart.low_frequencies import low_frequencies
from tests.support.linear_models import LABEL, NO_TARGET, behind, images, linear, mirror, run


def truth(x, share):
    """Zero the high coefficients of SciPy's DCT, in double precision."""
    coefficients = fft.dctn(np.asarray(x, dtype=np.float64), axes=(-2, -1), norm="ortho")
    rows, columns = (max(1, round(share * side)) for side in x.shape[-2:])
    coefficients[..., rows:, :] = 0
    coefficients[..., :, columns:] = 0
    return fft.idctn(coefficients, axes=(-2, -1), norm="ortho")


@pytest.mark.parametrize("size", [(8, 8), (5, 12), (1, 7), (33, 32)])
@pytest.mark.parametrize("share", [0.01, 0.125, 0.5, 0.99, 1.0])
def test_the_projection_is_that_of_a_dct(size, share):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(low_frequencies(x, share).numpy(), truth(x, share), rtol=0, atol=1e-5)


def test_all_frequencies_change_no_bit_and_what_is_not_finite_stays_where_it_is():
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert low_frequencies(x, 1.0) is x
    x[0, 0, 2, 3], x[0, 1, 0, 0] = torch.nan, torch.inf
    found = low_frequencies(x, 0.5)
    assert found[0, 0, 2, 3].isnan() and found[0, 1, 0, 0].isinf() and found.isfinite().sum() == x.numel() - 2
    wanted = truth(x.nan_to_num(0, 0, 0), 0.5)
    np.testing.assert_allclose(found[0, 2].numpy(), wanted[0, 2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("stack", [3, 1000])
@pytest.mark.parametrize("estimator", ["per_draw", "mean_logits"])
def test_a_gradient_is_projected(stack, estimator):
    defended = behind(linear()[0], 2)

    def found(**settings):
        eot = Eot(4, "margin", estimator, **settings)
        return gradient(defended, images(), Goal(LABEL, NO_TARGET), mirror(), eot, stack)

    whole, loss = found()
    low, same = found(frequencies=0.25)
    np.testing.assert_allclose(low.numpy(), truth(whole, 0.25), rtol=0, atol=1e-5)
    assert torch.equal(loss, same)


def test_unit_gradients_have_their_length_after_the_projection():
    eot = Eot(1, "margin", unit=True, frequencies=0.25)
    found, _ = gradient(behind(linear()[0]), images(), Goal(LABEL, NO_TARGET), mirror(), eot, 1000)
    torch.testing.assert_close(found.abs().sum((1, 2, 3)), torch.ones(4))
    np.testing.assert_allclose(found.numpy(), truth(found, 0.25), rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", ["pgd", "dual_averaging"])
def test_an_l2_attack_stays_among_low_frequencies(attack):
    """Away from black and white, steps of L2 keep the direction of gradients."""
    clean, ball, eot = images() * 0.2 + 0.4, Ball("l2", 0.3), Eot(2, "margin", frequencies=0.25)
    averaging = DualAveraging(ball, 5, False, replace(eot, unit=True))
    attack = averaging if attack == "dual_averaging" else Pgd(ball, 5, 0.2, False, eot)
    state = run(attack, attack.start(clean, Goal(LABEL, NO_TARGET), mirror()), behind(linear()[0], 2), 5)
    delta = attack.result(state) - clean
    np.testing.assert_allclose(delta.numpy(), truth(delta, 0.25), rtol=0, atol=1e-5)
    assert delta.flatten(1).norm(dim=1).min() > 0.29


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=f"frequencies = {share}: expected a share"):
        Eot(frequencies=share)
