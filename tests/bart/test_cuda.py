"""Check what only a GPU can show. Skipped without one."""

import pytest
import torch
from torch import nn

from bart import TRANSFORMS, Ball, Barrage, Classifier, Defended, Eot, Goal, Gradient, Mirror, Pgd, lanes, rng
from bart.attacks.state import State
from bart.dispatch import KERNELS
from tests.support.images import keys, photographs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SIZE = (64, 48)


@pytest.fixture
def no_sync():
    """Make any wait for the device an error, after a warm-up."""

    class Guard:
        def __enter__(self):
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")

        def __exit__(self, *error):
            torch.cuda.set_sync_debug_mode("default")

    yield Guard()
    torch.cuda.set_sync_debug_mode("default")


def test_random_numbers_are_those_of_the_cpu():
    k = keys(50)
    for draw in (
        lambda k: rng.bits(k, "x", (7,)),
        lambda k: rng.uniform(k, "x", 0.1, 3.0, (7,)),
        lambda k: rng.integers(k, "x", 3, 9, (7,)),
        lambda k: rng.order(k, "x", 10),
        lambda k: rng.field(k, (3, 9, 9)),
    ):
        assert torch.equal(draw(k.cuda()).cpu(), draw(k))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_never_waits_for_the_device(name, no_sync):
    transform, x, k = TRANSFORMS[name], photographs(*SIZE).cuda(), keys(4).cuda()

    def once():
        leaf = x.clone().requires_grad_()
        y = transform.apply(leaf, transform.draw(k, SIZE))
        return y if transform.gradient is Gradient.NONE else torch.autograd.grad(y.sum(), leaf)[0]

    once()
    with no_sync:
        once()


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", [SIZE, (224, 224), (33, 301)])
def test_a_transform_computes_what_it_does_on_a_cpu(name, size):
    transform, x = TRANSFORMS[name], photographs(*size).contiguous()
    params = transform.draw(keys(4), size)
    ours = transform.unclipped(x.cuda(), {k: v.cuda() for k, v in params.items()}).cpu()
    error = (ours - transform.eager(x, params)).abs().flatten() * 255
    assert error.mean() < 0.5 and error.sort().values[int(0.999 * len(error))] < 2


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("size", [SIZE, (224, 224)])
def test_a_kernel_computes_what_the_eager_code_does(name, size):
    """Compare values and vector-Jacobian products on the device itself; a value may be rounded to the other side."""
    transform = TRANSFORMS[name]
    x = photographs(*size).contiguous().repeat(2, 1, 1, 1).cuda()
    params = transform.draw(keys(8).cuda(), size)
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).cuda()
    found = []
    for function in (transform.unclipped, transform.eager):
        leaf = x.clone().requires_grad_()
        y = function(leaf, params)
        found.append((y.detach(), torch.autograd.grad(y, leaf, cotangent)[0] if y.requires_grad else None))
    (ours, product), (twin, truth) = found
    wrong = ((ours - twin).abs() > 2e-3).float().mean()
    assert wrong < 2e-3, f"{wrong:.2e} of the values"
    if truth is not None:
        off = (product - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1).clamp_min(1e-9)
        assert off.max() < 0.03, off.tolist()


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_gives_the_same_bits_again(name):
    transform, size = TRANSFORMS[name], (96, 80)
    x = photographs(*size).contiguous().repeat(4, 1, 1, 1).cuda()
    params = transform.draw(keys(16).cuda(), size)
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).cuda()
    found = []
    for _ in range(3):
        leaf = x.clone().requires_grad_()
        y = transform.apply(leaf, params)
        found.append((y.detach(), torch.autograd.grad(y, leaf, cotangent)[0] if y.requires_grad else y.detach()))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def defended():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return Defended(Classifier(network, [0.5] * 3, [0.5] * 3, SIZE).cuda(), Barrage(10))


def test_a_step_of_the_attack_never_waits_for_the_device(no_sync):
    x, attack = photographs(*SIZE).cuda(), Pgd(Ball("linf", 8 / 255), steps=3, eot=Eot(4))
    label = torch.arange(4).cuda()
    target, model = label.new_full((4,), -1), defended()
    state = attack.start(x, Goal(label, target), Mirror.of(keys(4), "cuda"))
    for i in range(20):  # warms up every transform, in whichever number it comes
        attack.step(attack.start(x, Goal(label, target), Mirror.of(keys(4, seed=i), "cuda")), model, stack=16)
    for _ in range(2):  # the first pass of a kind compiles, the second is recorded
        lanes.step(attack, state, model, 16, width=3)
    with no_sync:
        attack.step(state, model, stack=16)
        lanes.step(attack, state, model, 16, width=4)
        lanes.step(attack, state, model, 16, width=3)  # some of the images: their places are copied from pinned memory


@pytest.mark.parametrize("k", [5, 10])
def test_a_recorded_pass_gives_the_bits_of_one_that_is_queued_and_is_close_to_the_eager_barrage(k):
    x, barrage, n = photographs(*SIZE).cuda().repeat(40, 1, 1, 1), Barrage(k), 160
    mirror, cotangent = Mirror.of(keys(n), "cuda"), torch.randn(n, 3, *SIZE, generator=torch.Generator().manual_seed(0))

    def once(device):
        leaf = x.to(device).requires_grad_()
        y = barrage.apply(leaf, barrage.draw(Mirror.of(mirror.host, device), SIZE))
        return y.detach(), torch.autograd.grad(y, leaf, cotangent.to(device))[0]

    queued, *recorded = [once("cuda") for _ in range(4)]
    for y, product in recorded:
        assert torch.equal(y, queued[0]) and torch.equal(product, queued[1])
    y, _ = once("cpu")
    assert ((queued[0].cpu() - y).abs().flatten(1).mean(1) * 255).median() < 2


def test_a_state_comes_back_from_the_device_bit_for_bit():
    x, attack, model = photographs(*SIZE).cuda(), Pgd(Ball("linf", 8 / 255), steps=3, eot=Eot(2)), defended()
    label = torch.arange(4).cuda()
    state = attack.step(attack.start(x, Goal(label, label.new_full((4,), -1)), Mirror.of(keys(4), "cuda")), model, stack=8)
    back = State.of(state.tensors(), "cuda")
    assert all(torch.equal(a, b) for a, b in zip(state.tensors().values(), back.tensors().values(), strict=True))
    assert back.x.is_cuda and not back.keys.host.is_cuda and back.keys.device.is_cuda
