import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bart.transforms.denoising import tv
from bart.transforms.denoising.tv import TV_CHAMBOLLE
from tests.oracles.tv import tv_chambolle
from tests.support.contracts.transforms import assert_contract, assert_fidelity
from tests.support.images import keys, photographs


def _params(weight, per_channel):
    return {"weight": torch.as_tensor(weight), "per_channel": torch.as_tensor(per_channel)}


def test_tv_is_scikit_image():
    assert_fidelity(TV_CHAMBOLLE, tv_chambolle, mean=0.02, tail=0.5)  # float32 may stop an iteration apart
    assert_contract(TV_CHAMBOLLE)


def test_both_settings_of_the_coin_are_scikit_image_on_the_device_path_too():
    x = torch.cat([photographs(61, 48)] * 2).contiguous()
    params = _params([0.05, 0.1, 0.2, 0.25] * 2, [True] * 4 + [False] * 4)
    images = x.permute(0, 2, 3, 1).double().numpy()
    truth = [tv_chambolle(image, {k: v[i].numpy() for k, v in params.items()}) for i, image in enumerate(images)]
    truth = torch.from_numpy(np.stack(truth)).permute(0, 3, 1, 2)
    for found in (tv.apply(x, params), tv._device(tv._solve, (x,), params), tv.apply(x.double(), params)):
        assert (found - truth).abs().max() < 1e-5
    assert (truth[:4] - truth[4:]).abs().mean() > 1e-3


def test_every_problem_stops_on_its_own(monkeypatch):
    """Put slow and fast problems in one batch on the device's code, also if the device never reports its end."""
    x = torch.cat([photographs(40, 40), (photographs(40, 40) > 0.5).float(), torch.full((1, 3, 40, 40), 0.3)]).contiguous()
    params = _params([0.05, 0.25] * 4 + [0.1], [True, False] * 4 + [True])
    together = tv._device(tv._solve, (x,), params)
    monkeypatch.setattr(tv._Watch, "over", lambda self, active: False)
    assert torch.equal(tv._device(tv._solve, (x,), params), together)
    assert torch.equal(together[-1], x[-1])


def test_the_iteration_limit_is_scikit_images(monkeypatch):
    from skimage.restoration import denoise_tv_chambolle

    monkeypatch.setattr(tv, "ITERATIONS", 7)
    monkeypatch.setattr(tv, "EPSILON", 0.0)
    x = photographs(40, 40)[:1].contiguous()
    truth = denoise_tv_chambolle(x[0].permute(1, 2, 0).double().numpy(), 0.2, 0, 7)
    found = tv.apply(x, _params([0.2], [False]))
    assert (found[0].permute(1, 2, 0) - torch.from_numpy(truth)).abs().max() < 1e-5


def _unrolled(x, weight, axes):
    """Return Chambolle's iteration in its textbook form on one problem, for autograd; the values decide the steps."""
    tau, p, first, previous = 1 / (2 * len(axes)), [torch.zeros_like(x)] * len(axes), None, None
    while True:
        u = x - sum(torch.cat([p[k].narrow(a, 0, 1), p[k].diff(dim=a)], a) for k, a in enumerate(axes))
        slope = [torch.cat([u.diff(dim=a), torch.zeros_like(u.narrow(a, 0, 1))], a) for a in axes]
        norm = (sum(s.square() for s in slope) + 1e-40).sqrt()
        energy = ((u - x).square().sum() + weight * norm.sum()).item()
        first = energy if first is None else first
        if previous is not None and abs(previous - energy) < 2e-4 * first:
            return u
        previous, p = energy, [(q - tau * s) / (1 + tau / weight * norm) for q, s in zip(p, slope, strict=True)]


def _cosine(a, b):
    return F.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_surrogate_points_along_the_unrolled_derivative(per_channel):
    """Check the figures of the module's docstring on a smaller sample: far nearer than the identity, and never far off."""
    generator, found, identity = torch.Generator().manual_seed(0), [], []
    for image, weight in zip(photographs(64, 64).double(), (0.06, 0.12, 0.18, 0.24), strict=True):
        leaf = image.clone().requires_grad_()
        planes = [leaf[c] for c in range(3)] if per_channel else [leaf]
        u = torch.stack([_unrolled(p, weight, tuple(range(p.ndim))) for p in planes]).reshape(leaf.shape)
        params = _params([weight], [per_channel])
        value = tv.apply(leaf[None], params)[0]
        torch.testing.assert_close(value, u, atol=1e-6, rtol=0)
        for smooth in (False, True):
            cotangent = torch.randn(image.shape, generator=generator, dtype=torch.double)
            cotangent = F.avg_pool2d(cotangent, 5, 1, 2) if smooth else cotangent
            (truth,) = torch.autograd.grad(u, leaf, cotangent, retain_graph=True)
            (ours,) = torch.autograd.grad(value, leaf, cotangent, retain_graph=True)
            found.append(_cosine(ours, truth))
            identity.append(_cosine(cotangent, truth))
            assert 0.5 < ours.norm() / truth.norm() < 1.3
    assert min(found) > 0.8 and np.mean(found) > 0.92, found
    assert np.mean(identity) < 0.75


@pytest.mark.parametrize("channels", [1, 3])
def test_more_steps_of_the_derivative_solve_the_lagged_diffusion(monkeypatch, channels):
    generator, weight, shape = torch.Generator().manual_seed(0), 0.15, (channels, 6, 5)
    u, v = torch.rand(2, *shape, generator=generator, dtype=torch.double)
    axes = [a for a in range(3) if shape[a] > 1]
    slope = [torch.cat([u.diff(dim=a), torch.zeros_like(u.narrow(a, 0, 1))], a) for a in axes]
    diffusivity = 1 / (sum(s.square() for s in slope).sqrt() / weight + 2 * len(axes) / 40)
    number, matrix = torch.arange(u.numel()).reshape(shape), torch.eye(u.numel(), dtype=torch.double)
    for a in axes:
        low, high = (number.narrow(a, start, shape[a] - 1).flatten() for start in (0, 1))
        for i, j in zip(low, high, strict=True):
            edge = torch.zeros(u.numel(), dtype=torch.double)
            edge[i], edge[j] = -1, 1
            matrix += diffusivity.flatten()[i] * edge.outer(edge)
    monkeypatch.setattr(tv, "STEPS", 400)
    monkeypatch.setattr(tv, "LOWEST", 0.01)
    found = tv._diffuse(v, u, weight, 1.0 if channels == 3 else 0.0)
    torch.testing.assert_close(found.flatten(), torch.linalg.solve(matrix, v.flatten()), atol=1e-8, rtol=0)


def test_both_paths_have_the_same_derivative_which_is_linear_and_keeps_constants():
    x = photographs(40, 44).contiguous()
    params = _params([0.05, 0.1, 0.2, 0.25], [True, False, True, False])
    v, w = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(0))

    def backward(images, cotangent):
        leaf = images.clone().requires_grad_()
        return torch.autograd.grad(tv.apply(leaf, params), leaf, cotangent.to(images.dtype))[0]

    a, b = backward(x.double(), v), backward(x.double(), w)
    torch.testing.assert_close(backward(x, v).double(), a, atol=1e-4, rtol=0)
    torch.testing.assert_close(backward(x.double(), 2 * v + w), 2 * a + b)
    torch.testing.assert_close(backward(x.double(), torch.ones_like(x)), torch.ones_like(x).double())


def test_drawn_parameters():
    params = tv.draw(keys(4000), (224, 224))
    assert 0.05 <= params["weight"].min() < 0.0502 and 0.2498 < params["weight"].max() < 0.25
    assert abs(params["weight"].mean() - 0.15) < 0.003
    assert abs(params["per_channel"].float().mean() - 0.5) < 0.03
