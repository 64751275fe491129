from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from bart import rng
from bart.attacks.aggmo import AggMo
from bart.attacks.apgd import Apgd
from bart.attacks.attack import Attack
from bart.attacks.pgd import Pgd
from bart.attacks.state import State
from bart.ball import Ball
from bart.gradient import Eot, Goal, gradient
from bart.rng import Mirror
from tests.support.images import keys
from tests.support.linear_models import CLASSES, LABEL, NO_TARGET, SIDE, assert_same, behind, images, linear, mirror, run


def best_in_l2_and_box(clean, slope, eps):
    """Return the maximum of slope . x over the L2 ball and [0, 1]: clip(clean + t slope), with t found by bisection."""
    low, high = 0.0, 1e3
    for _ in range(200):
        t = (low + high) / 2
        moved = np.clip(clean + t * slope, 0, 1)
        low, high = (t, high) if np.linalg.norm(moved - clean) <= eps else (low, t)
    return np.clip(clean + low * slope, 0, 1)


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("random_start", [False, True])
def test_linf_reaches_the_optimum_of_a_linear_model(loss, targeted, random_start):
    """Use two classes, where every step has the same direction: the end is clip(clean + eps sign(w_goal - w_other))."""
    model, weight = linear(2)
    clean, eps = images(), 8 / 255
    label = torch.tensor([0, 1, 0, 1])
    goal = torch.tensor([1, 1, 0, 0]) if targeted else NO_TARGET
    wanted = goal if targeted else 1 - label
    attack = Pgd(Ball("linf", eps), 12, 2 / 255, random_start, Eot(1, loss))
    state = run(attack, attack.start(clean, Goal(label, goal), mirror()), behind(model), 12)
    truth = (clean + eps * torch.sign(weight[wanted] - weight[1 - wanted])).clamp(0, 1)
    torch.testing.assert_close(state.x, truth, rtol=0, atol=1e-6)


@pytest.mark.parametrize("targeted", [False, True])
def test_l2_reaches_the_optimum_of_a_linear_model_away_from_black_and_white(targeted):
    model, weight = linear(2)
    clean, eps = images() * 0.2 + 0.4, 0.5
    label = torch.tensor([0, 1, 0, 1])
    goal = torch.tensor([1, 1, 0, 0]) if targeted else NO_TARGET
    wanted = goal if targeted else 1 - label
    attack = Pgd(Ball("l2", eps), 7, 0.1, False, Eot(1, "margin"))
    state = run(attack, attack.start(clean, Goal(label, goal), mirror()), behind(model), 7)
    slope = weight[wanted] - weight[1 - wanted]
    truth = clean + eps * slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(state.x, truth, rtol=0, atol=1e-6)


def test_l2_comes_close_to_the_optimum_of_a_linear_model_at_black_and_white():
    model, weight = linear(2)
    clean, eps, label = images(), 3.0, torch.tensor([0, 1, 0, 1])
    attack = Pgd(Ball("l2", eps), 200, eps / 40, True, Eot(1, "margin"))
    state = run(attack, attack.start(clean, Goal(label, NO_TARGET), mirror()), behind(model), 200)
    for i in range(4):
        slope = (weight[1 - label[i]] - weight[label[i]]).double().numpy()
        start, end = clean[i].double().numpy(), state.x[i].double().numpy()
        best = (slope * (best_in_l2_and_box(start, slope, eps) - start)).sum()
        assert 0.98 * best < (slope * (end - start)).sum() <= best * (1 + 1e-6)
        assert np.linalg.norm(end - start) <= eps * (1 + 1e-6) and end.min() >= 0 and end.max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_a_written_out_loop(norm, targeted, momentum):
    """Use five classes, cross-entropy, double precision, plain NumPy."""
    model, weight = linear()
    eps, size = (8 / 255, 2 / 255) if norm == "linf" else (1.0, 0.3)
    clean, goal = images(), torch.tensor([3, 0, 1, 4]) if targeted else NO_TARGET
    attack = Pgd(Ball(norm, eps), 9, size, True, Eot(1), momentum)
    state = attack.start(clean, Goal(LABEL, goal), mirror())
    table, x = weight.double().numpy().reshape(CLASSES, -1), state.x.double().numpy().reshape(4, -1)
    memory = np.zeros_like(x)
    for _ in range(9):
        state = attack.step(state, behind(model), 1000)
        for i in range(4):
            z = table @ x[i]
            p = np.exp(z - z.max())
            p /= p.sum()
            p[goal[i] if targeted else LABEL[i]] -= 1
            ascent = (p @ table) * (-1 if targeted else 1)
            ascent = memory[i] = momentum * memory[i] + ascent / np.abs(ascent).sum()
            start = clean[i].double().numpy().ravel()
            if norm == "linf":
                delta = np.clip(x[i] + size * np.sign(ascent) - start, -eps, eps)
            else:
                delta = x[i] + size * ascent / np.linalg.norm(ascent) - start
                delta *= min(1.0, eps / np.linalg.norm(delta))
            x[i] = np.clip(start + delta, 0, 1)
        np.testing.assert_allclose(state.x.numpy().reshape(4, -1), x, rtol=0, atol=2e-6)


def test_a_target_and_no_target_in_one_batch():
    model, weight = linear(2)
    clean, label, goal = images(), torch.tensor([0, 0, 1, 1]), torch.tensor([-1, 0, -1, 1])
    attack = Pgd(Ball("linf", 4 / 255), 1, 4 / 255, False, Eot(1))
    state = attack.step(attack.start(clean, Goal(label, goal), mirror()), behind(model), 1000)
    towards = torch.tensor([1, 0, 0, 1])
    truth = (clean + 4 / 255 * torch.sign(weight[towards] - weight[1 - towards])).clamp(0, 1)
    torch.testing.assert_close(state.x, truth, rtol=0, atol=1e-6)


def test_a_step_uses_the_gradient_of_its_own_keys():
    """Derive the keys of step t from the image's, then "step", then t: they are new at each step, and no draw is shared."""
    model, _ = linear()
    defended, eot = behind(model, 2), Eot(3)
    attack = Pgd(Ball("l2", 0.5), 5, 0.1, True, eot)
    state = attack.start(images(), Goal(LABEL, NO_TARGET), mirror())
    for step in range(5):
        fresh = rng.fold(rng.fold(keys(4), "step"), step)
        ascent, _ = gradient(defended, state.x, Goal(LABEL, NO_TARGET), Mirror.of(fresh, "cpu"), eot, 1000)
        truth = attack.ball.step(state.x, ascent, 0.1, state.clean)
        state = attack.step(state, defended, 1000)
        assert torch.equal(state.x, truth)
        assert state.step.host.tolist() == [step + 1] * 4


def test_the_start_is_the_balls_or_the_image_itself():
    clean = images()
    here = Pgd(Ball("linf", 8 / 255), random_start=False).start(clean, Goal(LABEL, NO_TARGET), mirror())
    there = Pgd(Ball("linf", 8 / 255)).start(clean, Goal(LABEL, NO_TARGET), mirror())
    assert torch.equal(here.x, clean) and here.x.data_ptr() != clean.data_ptr()
    assert torch.equal(there.x, Ball("linf", 8 / 255).start(clean, rng.fold(keys(4), "start")))
    assert (there.x - clean).abs().amax() > 7 / 255
    for state in (here, there):
        assert torch.equal(state.clean, clean) and state.step.host.tolist() == [0] * 4
        assert state.nonfinite.tolist() == state.zero.tolist() == [0] * 4


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("estimator", ["per_draw", "mean_probabilities"])
def test_a_resume_is_exact(norm, estimator):
    """Compare 3 steps, saving, loading and 4 steps with 7 steps, bit for bit, through a random defense."""
    model, _ = linear()
    defended = behind(model, 2)
    attack = Pgd(Ball(norm, 8 / 255 if norm == "linf" else 0.5), 7, 2 / 255, True, Eot(3, estimator=estimator))
    start = attack.start(images(), Goal(LABEL, torch.tensor([-1, 3, -1, 0])), mirror())
    whole = run(attack, start, defended, 7)
    record = {name: value.clone() for name, value in run(attack, start, defended, 3).tensors().items()}
    assert record["step"].tolist() == [3] * 4
    assert_same(run(attack, State.of(record, "cpu"), defended, 4), whole)


def test_a_record_names_every_field_and_comes_back_as_it_was():
    attack = Pgd(Ball("linf", 8 / 255))
    state = run(attack, attack.start(images(), Goal(LABEL, NO_TARGET), mirror()), behind(linear()[0]), 1)
    record = state.tensors()
    assert list(record) == [f.name for f in fields(State) if f.name != "memory"]
    assert all(len(value) == 4 and value.is_contiguous() for value in record.values())
    back = State.of(dict(reversed(record.items())), "cpu")
    assert_same(back, state)
    assert isinstance(back.keys, Mirror) and isinstance(back.step, Mirror) and isinstance(back.x, torch.Tensor)


def test_a_step_is_pure():
    attack, defended = Pgd(Ball("linf", 8 / 255)), behind(linear()[0], 2)
    state = attack.start(images(), Goal(LABEL, NO_TARGET), mirror())
    before = {name: value.clone() for name, value in state.tensors().items()}
    first, second = attack.step(state, defended, 1000), attack.step(state, defended, 1000)
    assert_same(first, second)
    assert_same(state, State.of(before, "cpu"))


def test_images_may_join_a_running_batch():
    """Put two images at step 0 beside two at step 3: each goes on as if it were alone."""
    model, _ = linear()
    defended, clean = behind(model, 2), images()
    attack = Pgd(Ball("linf", 8 / 255), 7, 2 / 255, True, Eot(4))

    def alone(i, steps):
        one = slice(i, i + 1)
        state = attack.start(clean[one], Goal(LABEL[one], NO_TARGET[one]), Mirror.of(keys(4)[one], "cpu"))
        return run(attack, state, defended, steps).tensors()

    mixed = [alone(i, 3 if i < 2 else 0) for i in range(4)]
    state = State.of({name: torch.cat([m[name] for m in mixed]) for name in mixed[0]}, "cpu")
    together = run(attack, state, defended, 4).tensors()
    assert together["step"].tolist() == [7, 7, 4, 4]
    for i in range(4):
        for name, value in alone(i, 7 if i < 2 else 4).items():
            assert torch.equal(together[name][i : i + 1], value), name


def test_the_stack_changes_nothing():
    model, _ = linear()
    attack = Pgd(Ball("linf", 8 / 255), 4, 2 / 255, True, Eot(5, estimator="mean_logits"))
    start = attack.start(images(), Goal(LABEL, NO_TARGET), mirror())
    ends = [run(attack, start, behind(model, 2), 4, stack) for stack in (1, 3, 7, 1000)]
    for end in ends[1:]:
        torch.testing.assert_close(end.norms, ends[0].norms, rtol=1e-6, atol=0)  # sums of draws are cut in another way
        assert_same(replace(end, norms=ends[0].norms), ends[0])


class _Poison(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gradient):
        ctx.save_for_backward(gradient)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.saved_tensors[0].expand_as(gradient), None


class Planted(nn.Module):
    """Classify with the input gradient `planted` (n, 3, side, side), for any loss."""

    def __init__(self, planted):
        super().__init__()
        self.planted = planted
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        planted = self.planted if len(x) == len(self.planted) else self.planted[:1]  # the fold's probe is one image
        return _Poison.apply(x, planted).flatten(1)[:, :CLASSES]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_gradient_that_is_not_finite_is_counted_and_moves_no_pixel(bad, norm):
    planted = torch.ones(4, 3, SIDE, SIDE)
    planted[1, 2, 3, 4] = bad
    planted[2] = bad
    clean = images() * 0.5 + 0.25
    attack = Pgd(Ball(norm, 0.2), 2, 0.01, False, Eot(1))
    state = run(attack, attack.start(clean, Goal(LABEL, NO_TARGET), mirror()), behind(Planted(planted)), 2)
    assert state.nonfinite.tolist() == [0, 2, 2, 0] and state.zero.tolist() == [0, 0, 0, 0]
    assert state.x.isfinite().all()
    moved = (state.x - clean).abs() > 1e-5
    assert torch.equal(moved, planted.isfinite())


def test_a_gradient_of_zero_is_counted_and_moves_nothing():
    planted = torch.ones(4, 3, SIDE, SIDE)
    planted[0, :, 1:] = 0
    planted[3] = 0
    clean = images() * 0.5 + 0.25
    attack = Pgd(Ball("linf", 8 / 255), 3, 1 / 255, True, Eot(1))
    start = attack.start(clean, Goal(LABEL, NO_TARGET), mirror())
    state = run(attack, start, behind(Planted(planted)), 3)
    assert state.zero.tolist() == [0, 0, 0, 3] and state.nonfinite.tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(state.x[3], start.x[3], rtol=0, atol=1e-7)
    torch.testing.assert_close(state.x[0, :, 1:], start.x[0, :, 1:], rtol=0, atol=1e-7)
    assert ((state.x[0, :, :1] - start.x[0, :, :1]).abs() > 1e-4).any()


def test_a_large_ball_defeats_a_linear_model_behind_a_linear_transform():
    """Judge by draws that the attack has not seen."""
    model, _ = linear(2)
    defended = behind(model, 1, ("grey_partial_mix",))
    clean = images()
    label = defended.classifier(clean).argmax(1)
    attack = Pgd(Ball("linf", 0.3), 20, 0.05, True, Eot(10, "margin"))
    state = run(attack, attack.start(clean, Goal(label, NO_TARGET), mirror()), defended, 20)
    for seed in range(20):
        answer = defended.logits(state.x, mirror(seed=100 + seed)).argmax(1)
        assert not (answer == label).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ["pgd", "momentum", "apgd", "aggmo"])
@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e-14])
def test_attacks_move_however_short_the_gradient_is(norm, attack, scale):
    """Scale the loss of a linear model: the best image stays the same, and so must the steps."""
    model, _ = linear(2)
    short = nn.Sequential(*model[:1], nn.Linear(model[1].in_features, 2))
    short[1].weight.data, short[1].bias.data = model[1].weight.data * scale, model[1].bias.data
    ball, eot = Ball(norm, 8 / 255 if norm == "linf" else 0.5), Eot(1, "margin")
    kinds: dict[str, Attack] = {
        "pgd": Pgd(ball, 6, ball.eps / 4, True, eot),
        "momentum": Pgd(ball, 6, ball.eps / 4, True, eot, 0.9),
        "apgd": Apgd(ball, 6, True, eot),
        "aggmo": AggMo(ball, 6, ball.eps / 4, True, eot),
    }
    goal = Goal(torch.tensor([0, 1, 0, 1]), NO_TARGET)
    ends = [run(kinds[attack], kinds[attack].start(images(), goal, mirror()), behind(m), 6).x for m in (model, short)]
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=1e-3)
    assert (ends[1] - images()).flatten(1).norm(dim=1).min() > 0.2


def test_a_short_gradient_counts_as_much_as_a_long_one_in_the_momentum():
    model, _ = linear(2)
    model[1].weight.data *= 1e-20
    attack = Pgd(Ball("linf", 0.1), 1, 0.01, True, Eot(1, "margin"), 0.9)
    state = run(attack, attack.start(images(), Goal(torch.tensor([0, 1, 0, 1]), NO_TARGET), mirror()), behind(model), 1)
    torch.testing.assert_close(state.memory["momentum"].abs().flatten(1).sum(1), torch.ones(4))
