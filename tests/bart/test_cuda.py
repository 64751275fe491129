"""Check what only a GPU can show. Skipped without one."""

import pytest
import torch
from torch import nn

from bart import BART_25, GREY, TRANSFORMS, Ball, Barrage, Classifier, Defended, Eot, Goal, Gradient, Mirror, Pgd, lanes, rng
from bart.attacks.state import State
from bart.dispatch import KERNELS
from bart.gradient import gradient
from bart.recording import repeated
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


def defended(autocast=None):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return Defended(Classifier(network, [0.5] * 3, [0.5] * 3, SIZE, autocast).cuda(), Barrage(10))


def test_a_step_of_the_attack_never_waits_for_the_device(no_sync):
    x, attack = photographs(*SIZE).cuda(), Pgd(Ball("linf", 8 / 255), steps=3, eot=Eot(4))
    label = torch.arange(4).cuda()
    target, model = label.new_full((4,), -1), defended()
    state = attack.start(x, Goal(label, target), Mirror.of(keys(4), "cuda"))
    for i in range(20):  # warms up every transform, in whichever number it comes, and records
        attack.step(attack.start(x, Goal(label, target), Mirror.of(keys(4, seed=i), "cuda")), model, stack=16)
    for _ in range(3):  # the first pass of a kind compiles, the second is watched, the third is recorded
        lanes.step(attack, state, model, 16, width=3)
    with no_sync:
        attack.step(state, model, stack=16)
        lanes.step(attack, state, model, 16, width=4)
        lanes.step(attack, state, model, 16, width=3)  # some of the images: their places are copied from pinned memory


@pytest.mark.parametrize(("k", "names"), [(5, BART_25), (10, BART_25), (8, GREY)], ids=["5", "10", "grey"])
def test_a_recorded_pass_gives_the_bits_of_one_that_is_queued_and_is_close_to_the_eager_barrage(k, names):
    n, channels, barrage = 160, 1 if names == GREY else 3, Barrage(k, names)
    x = photographs(*SIZE)[:, :channels].contiguous().cuda().repeat(40, 1, 1, 1)
    mirror, cotangent = Mirror.of(keys(n), "cuda"), torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    def once(device):
        leaf = x.to(device).requires_grad_()
        y = barrage.apply(leaf, barrage.draw(Mirror.of(mirror.host, device), SIZE))
        return y.detach(), torch.autograd.grad(y, leaf, cotangent.to(device))[0]

    queued, *recorded = [once("cuda") for _ in range(4)]
    for y, product in recorded:
        assert torch.equal(y, queued[0]) and torch.equal(product, queued[1])
    y, _ = once("cpu")
    assert ((queued[0].cpu() - y).abs().flatten(1).mean(1) * 255).median() < 2


def gradients(model, seeds, eot):
    x, label = photographs(*SIZE).cuda(), torch.arange(4).cuda()
    mirrors = [Mirror.of(keys(4, seed), "cuda") for seed in range(seeds)]
    return [gradient(model, x, Goal(label, torch.full_like(label, -1)), mirror, eot, 64) for mirror in mirrors]


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize(
    "eot", [Eot(16), Eot(16, "margin", "mean_logits"), Eot(4, unit=True), Eot(16, fixed_order=True)], ids=str
)
def test_a_recorded_step_gives_the_bits_of_one_that_is_queued(eot, autocast):
    model, queued = defended(autocast), defended(autocast)
    repeated._REFUSED.add(queued.classifier)
    ours, truth = gradients(model, 6, eot), gradients(queued, 6, eot)
    assert any(kept.owner is model.classifier and kept.replay for kept in repeated._KEPT.values())
    assert all(torch.equal(a, b) for pair, other in zip(ours, truth, strict=True) for a, b in zip(pair, other, strict=True))
    assert not torch.equal(ours[4][0], ours[5][0]), "each step has draws of its own"


def test_a_recorded_step_is_a_few_starts_of_the_host():
    model, eot = defended(), Eot(16)
    gradients(model, 4, eot)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        gradients(model, 1, eot)
    starts = sum(
        event.count for event in profile.key_averages() if event.key.startswith(("cudaLaunch", "cudaGraphLaunch", "cuLaunch"))
    )
    assert starts < 100, starts


@pytest.mark.parametrize("kind", ["reads", "draws", "hooks"])
def test_a_network_that_cannot_be_recorded_is_queued_with_one_warning(kind):
    class Other(nn.Module):
        def forward(self, x):
            if kind == "reads" and x.mean().item() < -100:
                return x.flatten(1)[:, :10]
            return x.flatten(2).mean(2).repeat(1, 4)[:, :10] + (0 * torch.rand(10, device=x.device) if kind == "draws" else 0)

    network = Other()
    if kind == "hooks":
        network.register_forward_hook(lambda module, inputs, output: output * 1)
    model = Defended(Classifier(network, [0.5] * 3, [0.5] * 3, SIZE, folded=False).cuda(), Barrage(3))
    with pytest.warns(UserWarning, match="not recorded") as said:
        found = gradients(model, 5, Eot(8))
    assert len(said) == 1 and all(part.isfinite().all() for part, _ in found)


def test_records_are_given_up_where_memory_ends():
    model = defended()
    truth = gradients(model, 4, Eot(16))
    held = torch.cuda.memory_reserved()
    attempts = []

    def work():
        attempts.append(torch.cuda.memory_reserved())
        if len(attempts) == 1:
            raise torch.OutOfMemoryError("made up")

    with pytest.warns(UserWarning, match="too little memory"):
        repeated.with_room(work)
    assert len(attempts) == 2 and attempts[1] < held
    again = gradients(model, 4, Eot(16))
    assert all(torch.equal(a, b) for pair, other in zip(again, truth, strict=True) for a, b in zip(pair, other, strict=True))


def test_a_state_comes_back_from_the_device_bit_for_bit():
    x, attack, model = photographs(*SIZE).cuda(), Pgd(Ball("linf", 8 / 255), steps=3, eot=Eot(2)), defended()
    label = torch.arange(4).cuda()
    state = attack.step(attack.start(x, Goal(label, label.new_full((4,), -1)), Mirror.of(keys(4), "cuda")), model, stack=8)
    back = State.of(state.tensors(), "cuda")
    assert all(torch.equal(a, b) for a, b in zip(state.tensors().values(), back.tensors().values(), strict=True))
    assert back.x.is_cuda and not back.keys.host.is_cuda and back.keys.device.is_cuda
