from functools import partial

import pytest
import torch

from bart.autograd import straight_through
from bart.bpda import policies
from bart.bpda.network import BpdaNet
from bart.bpda.policies import POLICIES, combo, identity, network, without_networks
from bart.classifier import Classifier
from bart.defenses.barrage import Barrage
from bart.defenses.defended import Defended
from bart.diagnostics import PlantedWeakness
from bart.gradient import Eot, Goal, gradient
from bart.rng import Mirror
from bart.transforms import TRANSFORMS
from bart.types import Gradient, Transform
from tests.support.bpda_networks import shaken
from tests.support.images import keys, photographs

SIZE = (32, 32)


def nets(*names):
    """Return networks as after training, each with its own weights."""
    return {name: shaken(BpdaNet(name, i), i).requires_grad_(False) for i, name in enumerate(names)}


def jacobian(net, x, told, cotangent):
    """Return the network's vector-Jacobian product by autograd."""
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad((net(leaf, told) * cotangent).sum(), leaf)[0]


def square(gradient):
    """Return the transform x squared, declared to have a gradient or none."""

    def apply(x, params):
        return x.detach().square() if gradient is Gradient.NONE else x.square()

    return Transform("square", "powers", lambda keys, size: {}, apply, gradient)


def test_straight_through_is_y_bit_for_bit_with_the_gradient_of_x():
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    y = torch.rand(2, 3, 4, 4)
    y[0, 0, 0] = torch.tensor([-0.0, 1e-45, torch.inf, torch.nan])
    weight = torch.randn(2, 3, 4, 4)
    out = straight_through(x, y)
    assert torch.equal(out.view(torch.int32), y.view(torch.int32))
    (gradient,) = torch.autograd.grad((out.nan_to_num() * weight).sum(), x)
    assert torch.equal(gradient, weight * y.isfinite())


def test_straight_through_sends_nothing_into_y():
    x, y = (torch.rand(5, requires_grad=True) for _ in range(2))
    gradients = torch.autograd.grad(straight_through(3 * x, 7 * y).sum(), (x, y), allow_unused=True)
    assert torch.equal(gradients[0], torch.full((5,), 3.0)) and gradients[1] is None


@pytest.mark.parametrize("gradient", list(Gradient))
def test_identity_ignores_the_transforms_own_gradient(gradient):
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    y = identity(square(gradient), x, {})
    assert torch.equal(y, x.square())
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.ones_like(x))


@pytest.mark.parametrize("gradient", list(Gradient))
def test_combo_takes_autograd_where_there_is_one_and_else_the_identity(gradient):
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    y = combo(square(gradient), x, {})
    assert torch.equal(y, x.square())
    truth = torch.ones_like(x) if gradient is Gradient.NONE else 2 * x
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], truth)


def test_policies_by_name():
    assert {"combo": combo, "identity": identity, "network": network} == POLICIES


@pytest.mark.parametrize("transform", list(TRANSFORMS.values()), ids=list(TRANSFORMS))
def test_every_policy_keeps_the_true_value_and_gives_every_transform_a_gradient(transform):
    x = photographs(*SIZE)[:2]
    params = transform.draw(keys(2), SIZE)
    truth, networks = transform.unclipped(x, params), nets(transform.name)
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    imitated = jacobian(networks[transform.name], x, transform.conditioning(params, SIZE), cotangent)
    none = transform.gradient is Gradient.NONE
    for name, known in (("combo", {}), ("combo", networks), ("identity", {}), ("identity", networks), ("network", networks)):
        leaf = x.clone().requires_grad_()
        y = POLICIES[name](transform, leaf, params, known)
        assert torch.equal(y.detach().view(torch.int32), truth.view(torch.int32)), name
        (found,) = torch.autograd.grad(y, leaf, cotangent)
        assert found.isfinite().all() and (found != 0).any(), name
        if name == "network" or (name == "combo" and none and known):
            torch.testing.assert_close(found, imitated, rtol=1e-5, atol=1e-6 * imitated.abs().max().item())
        elif name == "identity" or none:
            assert torch.equal(found, cotangent), name


def test_combo_leaves_a_derivative_of_its_own_alone():
    transform, x = TRANSFORMS["grey_mix"], photographs(*SIZE)[:2]
    params = transform.draw(keys(2), SIZE)
    found = []
    for networks in ({}, nets("grey_mix")):
        leaf = x.clone().requires_grad_()
        found.append(torch.autograd.grad(combo(transform, leaf, params, networks).square().sum(), leaf)[0])
    assert torch.equal(*found)


class Spy(BpdaNet):
    """Record the inputs of a network, and whether autograd kept anything of it."""

    def forward(self, x, conditioning):
        self.saw = [
            *getattr(self, "saw", []),
            (x.detach().clone(), conditioning.clone(), torch.is_grad_enabled(), self.training),
        ]
        return super().forward(x, conditioning)


def test_the_network_sees_the_same_image_and_parameters_once_and_in_backward_only():
    transform, x = TRANSFORMS["swirl"], photographs(*SIZE)[:2]
    params = transform.draw(keys(2), SIZE)
    spy = shaken(Spy("swirl"))
    leaf = x.clone().requires_grad_()
    y = network(transform, leaf, params, {"swirl": spy})
    assert not hasattr(spy, "saw"), "the forward pass of an attack is the transform's"
    y.sum().backward()
    ((image, told, enabled, training),) = spy.saw
    assert torch.equal(image, x) and torch.equal(told, transform.conditioning(params, SIZE))
    assert enabled and not training
    assert all(p.grad is None for p in spy.parameters()), "parameters gathered a gradient"
    with torch.no_grad():
        assert torch.equal(network(transform, x, params, {"swirl": spy}), transform.apply(x, params))
    assert len(spy.saw) == 1


def test_many_images_go_through_in_parts(monkeypatch):
    transform, x = TRANSFORMS["hist_eq"], photographs(*SIZE).repeat(2, 1, 1, 1)[:5]
    params, spy = transform.draw(keys(5), SIZE), shaken(Spy("hist_eq"))
    found = []
    for at_once in (5, 2):
        monkeypatch.setattr(policies, "AT_ONCE", at_once)
        leaf = x.clone().requires_grad_()
        found.append(torch.autograd.grad(network(transform, leaf, params, {"hist_eq": spy}).square().sum(), leaf)[0])
    assert [len(image) for image, *_ in spy.saw] == [5, 2, 2, 1]
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6 * found[0].abs().max().item())


def test_a_missing_network_is_named():
    x = photographs(*SIZE)[:1]
    transform = TRANSFORMS["zoom"]
    with pytest.raises(ValueError, match="no network for zoom"):
        network(transform, x, transform.draw(keys(1), SIZE), nets("jpeg"))


def defended(networks, k=2, names=("hist_eq", "grey_mix"), kind=Defended):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    weight = torch.randn(4, 3 * 32 * 32, generator=torch.Generator().manual_seed(3))
    model[1].weight.data, model[1].bias.data = weight, torch.zeros(4)
    return kind(Classifier(model, (0.0,) * 3, (1.0,) * 3, SIZE), Barrage(k, names), networks=networks)


def ascended(behind, policy):
    x = photographs(*SIZE)[:2]
    goal = Goal(torch.tensor([0, 1]), torch.tensor([-1, -1]))
    return gradient(behind, x, goal, Mirror.of(keys(2), "cpu"), Eot(3, "margin", policy=policy), 4)


def test_a_defended_model_hands_its_networks_to_the_policy():
    """Compare the gradient with the mean of the network's products, written out, for one transform and a linear model."""
    networks, x = nets("hist_eq"), photographs(*SIZE)[:2]
    behind = defended(networks, 1, ("hist_eq",))
    found, _ = ascended(behind, "network")
    from bart import rng

    transform, truth = TRANSFORMS["hist_eq"], torch.zeros_like(x)
    every = torch.stack([rng.fold(keys(2), draw) & ~(1 << 32) for draw in range(3)], dim=1)
    for i in range(2):
        for draw in range(3):
            params = transform.draw(rng.fold(every[i, draw : draw + 1], "hist_eq"), SIZE)
            z = transform.apply(x[i : i + 1], params).clamp(0, 1).requires_grad_()
            logits = behind.classifier(z)[0]
            other = torch.stack([logits[c] for c in range(4) if c != i]).max()
            (down,) = torch.autograd.grad(other - logits[i], z)
            truth[i] += jacobian(networks["hist_eq"], x[i : i + 1], transform.conditioning(params, SIZE), down)[0] / 3
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5 * truth.abs().max().item())


def test_policies_differ_only_in_the_gradient():
    networks = nets("hist_eq", "grey_mix")
    found = {policy: ascended(defended(networks), policy) for policy in POLICIES}
    found["plain"] = ascended(defended({}), "combo")
    losses = [loss for _, loss in found.values()]
    assert all(torch.equal(loss, losses[0]) for loss in losses)
    gradients = {name: g for name, (g, _) in found.items()}
    for a, b in (("combo", "identity"), ("combo", "network"), ("combo", "plain"), ("network", "identity")):
        assert (gradients[a] - gradients[b]).abs().max() > 1e-3 * gradients[a].abs().max(), (a, b)


def test_a_policy_says_whether_it_needs_no_network():
    some, networks = [TRANSFORMS["hist_eq"], TRANSFORMS["grey_mix"]], nets("hist_eq")
    for policy in (combo, identity):
        assert without_networks(policy, some) == without_networks(partial(policy, networks={}), some) == policy.__name__
    assert without_networks(partial(identity, networks=networks), some) == "identity"  # it uses none
    assert without_networks(partial(combo, networks=networks), some[1:]) == "combo"  # grey_mix has a gradient of its own
    for other in (partial(combo, networks=networks), partial(network, networks=networks), lambda *call: combo(*call)):
        assert without_networks(other, some) is None


def test_networks_that_are_missing_or_cannot_be_used_are_refused_before_a_step():
    with pytest.raises(ValueError, match="no network for grey_mix"):
        ascended(defended(nets("hist_eq")), "network")
    ascended(defended({}, k=0), "network")  # nothing is transformed
    with pytest.raises(ValueError, match="train mode"):
        defended({"jpeg": BpdaNet("jpeg").train()})
    with pytest.raises(ValueError, match="takes 4 parameters, expected 1"):
        defended({"jpeg": BpdaNet("swirl").eval()})
    with pytest.raises(ValueError, match="gray_mix"):
        defended({"gray_mix": BpdaNet(3).eval()})
    planted = defended(nets("hist_eq", "grey_mix"), kind=PlantedWeakness)
    assert planted.slope == 2000 and ascended(planted, "network")[0].isfinite().all()
