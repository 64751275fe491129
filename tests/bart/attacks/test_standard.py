import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from bart import Ball, Barrage, Classifier, Defended, DualAveraging, Eot, Goal, Standard
from bart.attacks.state import State
from bart.gradient import score
from tests.support.contracts.attacks import assert_images_are_independent, linear_optimum
from tests.support.linear_models import LABEL, NO_TARGET, SIDE, assert_same, behind, images, linear, mirror, run

EPS = 48 / 255
GOAL = Goal(LABEL, NO_TARGET)


class Masked(nn.Module):
    """Hide the gradient of a linear model behind a rounding of its input to 256 levels."""

    def __init__(self):
        super().__init__()
        self.linear, self.weight = linear()

    def forward(self, x):
        return 20 * self.linear((255 * x).round() / 255)


def attack(steps=12, draws=1, choice=1, norm="linf", eps=EPS, runs=1):
    return Standard(Ball(norm, eps), steps, Eot(draws, "margin", unit=True), choice, runs)


def masked(k=0):
    """Return a model that hides its gradients, behind `k` transforms, with its own answers as labels."""
    model = Masked()
    defended = Defended(
        Classifier(model, (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(k, ("color_precision", "gaussian_blur"))
    )
    label = defended.classifier(images()).argmax(1)
    return defended, Goal(label, NO_TARGET)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
@pytest.mark.parametrize("targeted", [False, True])
def test_it_reaches_the_optimum_of_a_linear_model(norm, eps, targeted):
    assert (linear_optimum(attack(choice=0, norm=norm, eps=eps), targeted) > 1 - 1e-4).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("k", "runs"), [(0, 1), (0, 3), (2, 1), (2, 2)])
def test_it_is_pure_resumes_exactly_and_no_image_depends_on_another(norm, k, runs):
    settings = attack(16, 1 if k == 0 else 3, 1 if k == 0 else 4, norm, EPS if norm == "linf" else 2.0, runs)
    for defended, goal in ((behind(linear()[0], k), GOAL), masked(k)):
        start = settings.start(images(), goal, mirror())
        before = {name: value.clone() for name, value in start.tensors().items()}
        whole = run(settings, start, defended, 16)
        assert_same(start, State.of(before, "cpu"))
        for at in (2, 5, 7, 8, 9, 10, 15):
            part = State.of(run(settings, start, defended, at).tensors(), "cpu")
            assert_same(run(settings, part, defended, 16 - at), whole)
        stored = settings.ball.store(settings.result(whole), whole.clean)
        assert (settings.ball.distance(stored, whole.clean) <= settings.ball.eps + 1e-5).all()
        assert whole.step.host.tolist() == [16] * 4
        assert_images_are_independent(settings, defended)


def test_where_gradients_lead_it_is_dual_averaging():
    defended, eot = behind(linear()[0], 2), Eot(3, "margin", unit=True)
    ours = Standard(Ball("linf", EPS), 12, eot, 4)
    found = run(ours, ours.start(images(), GOAL, mirror()), defended, 12)
    peer = DualAveraging(Ball("linf", EPS), 12, True, eot)
    truth = run(peer, peer.start(images(), GOAL, mirror()), defended, 12)
    led = found.memory["best_score"] < 0
    assert led.any(), "no image was led by its gradients"
    assert torch.equal(ours.result(found)[led], truth.x[led])
    assert (found.grad_evals[led] == ours.cost.gradients).all() and (found.forward_evals[led] == ours.cost.forwards).all()


@pytest.mark.parametrize("k", [0, 1])
def test_where_there_are_no_gradients_the_image_is_searched_and_the_best_example_kept(k):
    """Count the stages: half of the steps by gradient, an eighth on the undefended model if there is one, then squares."""
    defended, goal = masked(k)
    draws = 4 if k else 1
    settings = attack(400, draws, draws)
    state = run(settings, settings.start(images(), goal, mirror()), defended, 400)
    assert state.zero.tolist() == [200 + 50 * bool(k)] * 4, "a gradient was not zero"
    assert state.grad_evals.tolist() == [200 * draws + (50 if k else 0)] * 4
    searched = 150 if k else 200
    squares = max(1, 3 * draws // 2)
    scored = (2 + 1 + bool(k)) * draws
    assert state.forward_evals.tolist() == [searched * 2 * squares + scored] * 4
    without = score(defended, images(), goal, mirror(), 100, 100)
    assert (without < 0.1).all() and (state.memory["best_score"] > without + 0.1).all(), "the search found nothing"
    assert torch.equal(settings.result(state), state.memory["best"])
    if k == 0:
        stored = settings.ball.store(settings.result(state), state.clean).float() / 255
        assert (defended.classifier(stored).argmax(1) != goal.label).all()


def test_an_image_whose_example_gains_nothing_is_searched_though_its_gradients_are_not_zero():
    """Let the gradient point the wrong way: the model's own surrogate gradient is reversed."""

    class Reversed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return -gradient

    class Astray(Masked):
        def forward(self, x):
            return 20 * self.linear(Reversed.apply(x))

    defended = Defended(Classifier(Astray(), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    goal = Goal(defended.classifier(images()).argmax(1), NO_TARGET)
    settings = attack(400)
    state = run(settings, settings.start(images(), goal, mirror()), defended, 400)
    assert state.zero.tolist() == [0] * 4 and (state.memory["best_score"] > 0.5).all()
    unscored = attack(400, choice=0)
    state = run(unscored, unscored.start(images(), goal, mirror()), defended, 400)
    assert (state.memory["best_score"] < 0).all(), "without scores only the gradients are checked"


@pytest.mark.parametrize(("gain", "sent_on"), [(0.048, True), (0.052, False)])
def test_an_example_must_gain_a_twentieth(gain, sent_on):
    """Let the wrong class have the logit a (mean - 128/255) - 1, so the gain of the brightest example is known."""
    before = 1 / (1 + math.e)
    after = before + 2 * gain  # not the first class, so half of the probability counts
    slope = (1 + math.log(after / (1 - after))) / EPS

    class Brightness(nn.Module):
        def forward(self, x):
            z = slope * (x.mean((1, 2, 3)) - 128 / 255) - 1
            return torch.stack([torch.zeros_like(z), z], 1)

    defended = Defended(Classifier(Brightness(), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    clean, goal = torch.full((4, 3, SIDE, SIDE), 128 / 255), Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET)
    settings = attack(6)
    state = run(settings, settings.start(clean, goal, mirror()), defended, 3)
    assert state.zero.tolist() == [0] * 4 and (state.memory["best_score"] >= 0).tolist() == [sent_on] * 4
    if sent_on:
        assert state.memory["best_score"].tolist() == pytest.approx([after / 2] * 4, abs=1e-5)


def test_an_image_of_which_half_of_the_steps_had_no_gradient_is_sent_on():
    """Half of twelve steps is six; gradients that are zero or not finite count together, and without scores they decide."""
    settings, defended = attack(12, choice=0), behind(linear()[0])
    state = run(settings, settings.start(images(), GOAL, mirror()), defended, 5)
    state = replace(state, zero=torch.tensor([6, 3, 3, 0]), nonfinite=torch.tensor([0, 3, 2, 6]))
    state = settings.step(state, defended, 100)
    assert state.began.host.tolist() == [6, 6, 0, 6]
    assert (state.memory["best_score"] == 0).tolist() == [True, True, False, True]


def test_an_example_whose_score_is_0_is_still_the_best_one():
    settings = attack()
    state = settings.start(images(), GOAL, mirror())
    state = replace(state, memory=state.memory | {"best": images() / 2, "best_score": torch.tensor([0.0, 0.5, -1, -1])})
    kept = [torch.equal(found, half) for found, half in zip(settings.result(state), images() / 2, strict=True)]
    assert kept == [True, True, False, False]


@pytest.mark.parametrize(
    ("budget", "draws", "steps", "choice", "runs"),
    [
        (4, 5, 1, 0, 1), (99, 5, 19, 0, 1), (100, 5, 18, 10, 1), (200, 5, 38, 10, 1), (203, 5, 39, 10, 1),
        (10_000, 5, 1998, 10, 1), (100, 1, 99, 1, 1), (199, 1, 198, 1, 1), (200, 1, 198, 1, 2), (350, 1, 347, 1, 3),
        (1000, 1, 993, 1, 10),
        (5000, 1, 4993, 1, 10),
    ],
)  # fmt: skip
def test_what_a_budget_buys(budget, draws, steps, choice, runs):
    """By hand from docs/standard.md: two scores of ten draws from 100 on, a third of a gradient each; without randomness two
    forward passes for the check, and two for each run but one for the last, which has no next aim.
    """
    found = Standard.of_budget(Ball("linf", EPS), budget, Eot(draws, "margin", unit=True))
    assert (found.steps, found.choice_draws, found.runs) == (steps, choice, runs)
    assert found.cost == (steps * draws, 2 * choice + (2 * runs - 1 if runs > 1 else 0))


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("draws", [1, 3])
def test_the_smallest_budgets_have_a_valid_example(steps, draws):
    for defended, goal in ((behind(linear()[0], 2), GOAL), masked(1)):
        settings = attack(steps, draws)
        state = run(settings, settings.start(images(), goal, mirror()), defended, steps)
        result = settings.result(state)
        assert result.isfinite().all() and (result - state.clean).abs().max() <= EPS + 1e-6


def several(classes=4):
    """Return a linear model of several classes, with its own answers as labels."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, classes))
    model[1].weight.data = torch.randn(classes, 3 * SIDE * SIDE, generator=generator)
    defended = Defended(Classifier(model, (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    with torch.no_grad():
        logits = defended.classifier(images())
    return defended, logits.argmax(1), logits


def test_later_runs_aim_at_the_likeliest_wrong_classes_in_their_order():
    defended, label, logits = several()
    settings = attack(runs=5, steps=20)
    order = logits.argsort(1, descending=True)
    state = settings.start(images(), Goal(label, NO_TARGET), mirror())
    for step in range(20):
        aim = NO_TARGET if step < 4 or step >= 16 else order[:, step // 4]  # three wrong classes, then any again
        assert torch.equal(state.memory["aim"], aim), step
        assert state.target.tolist() == NO_TARGET.tolist() and state.began.host.tolist() == [step // 4 * 4] * 4
        state = settings.step(state, defended, 100)
    assert state.grad_evals.tolist() == [20] * 4 and state.forward_evals.tolist() == [2 + 5 + 4] * 4
    assert settings.cost == (20, 11)
    target = (label + 1) % 4
    state = run(settings, settings.start(images(), Goal(label, target), mirror()), defended, 20)
    assert torch.equal(state.memory["aim"], target), "a goal with a target has one aim"


def test_the_best_run_is_kept():
    """Let the second likeliest class be the easier one to reach: the first run, at any class, goes after the likeliest."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 3))
    noise = torch.randn(3, 3 * SIDE * SIDE, generator=torch.Generator().manual_seed(3))
    model[1].weight.data = noise.sign() * torch.tensor([[0.0], [0.03], [0.1]])
    model[1].bias.data = torch.zeros(3)
    with torch.no_grad():  # on average the photographs' logits are these
        model[1].bias.data = torch.tensor([0.0, -0.1, -0.5]) - model(images()).mean(0)
    defended = Defended(Classifier(model, (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    goal = Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET)
    settings = attack(runs=4, steps=40, eps=16 / 255)
    best, state = torch.full((4,), -1.0), settings.start(images(), goal, mirror())
    for step in range(1, 41):
        state = settings.step(state, defended, 100)
        if step % 10:
            continue
        assert (state.memory["best_score"] >= best).all()
        best = state.memory["best_score"]
        stored = settings.ball.store(settings.result(state), state.clean).float() / 255
        assert torch.equal(score(defended, stored, goal, mirror(), 1, 100), best)
    single = attack(steps=10, eps=16 / 255)
    first = run(single, single.start(images(), goal, mirror()), defended, 10)
    stored = settings.ball.store(single.result(first), first.clean).float() / 255
    assert (best > score(defended, stored, goal, mirror(), 1, 100) + 1e-6).any(), "no later run was better than the first"


@pytest.mark.parametrize("budget", [1, 5, 7, 50, 99, 100, 200, 399, 1500])
@pytest.mark.parametrize("draws", [1, 5])
def test_no_image_costs_more_than_the_budget(budget, draws):
    """Count a forward pass as a third. Budgets below one step are spent on one step of fewer draws by the campaign file."""
    draws = min(draws, budget)
    settings = Standard.of_budget(Ball("linf", EPS), budget, Eot(draws, "margin", unit=True))
    steps = settings.steps
    assert settings.eot.draws == draws and budget - 2 * draws < steps * draws + settings.cost.forwards / 3 + 1
    for defended, goal in ((behind(linear()[0], 2), GOAL), masked(1 if draws > 1 else 0)):
        state = run(settings, settings.start(images(), goal, mirror()), defended, steps)
        spent = state.grad_evals + state.forward_evals / 3
        assert (spent <= max(budget, draws + 2)).all(), spent
