import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from bart import Ball, Eot, Goal, Restarts, rng
from bart.attacks.lbfgs import PAIRS, Lbfgs, _direction
from bart.gradient import gradient, mean_loss
from tests.support.contracts.attacks import GOAL, MIXED, assert_contract, linear_optimum
from tests.support.images import keys
from tests.support.linear_models import LABEL, NO_TARGET, SIZE, behind, images, linear, mirror, run

WIDE = Ball("l2", 100.0)
INNER = images() * 0.2 + 0.4


@pytest.mark.parametrize("ball", [Ball("linf", 8 / 255), Ball("l2", 0.5)])
def test_the_contract(ball):
    assert_contract(Lbfgs(ball, 8, 3, 0.03, Eot(3)))


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_it_reaches_the_optimum_of_a_linear_model(targeted, loss):
    """Use a c so small that the perturbation leaves the ball: projected, it is the best of the ball."""
    c = 0.05 if targeted and loss == "ce" else 1.2
    assert (linear_optimum(Lbfgs(Ball("l2", 0.5), 12, 1, c, Eot(1, loss)), targeted) > 1 - 1e-4).all()
    assert (linear_optimum(Lbfgs(Ball("linf", 8 / 255), 80, 1, 1e-4, Eot(1, "margin")), targeted) > 0.999).all()


def two_classes(clean, targeted=False):
    """Return a linear model of two classes, its goal, and the gradient of the margin that is to rise, (4, 3, side, side)."""
    model, weight = linear(2)
    label = torch.tensor([0, 1, 0, 1])
    return behind(model), Goal(label, 1 - label if targeted else NO_TARGET), weight[1 - label] - weight[label]


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("clean", [images(), INNER])
def test_the_minimiser_of_a_linear_loss(clean, targeted):
    """Check c |r|^2 - w r in the box: r = w / (2 c), clipped, is the first trial."""
    defended, goal, slope = two_classes(clean, targeted)
    for c in (0.7, 5.0):
        attack = Lbfgs(WIDE, 2, 1, c, Eot(1, "margin"))
        state = run(attack, attack.start(clean, goal, mirror()), defended, 2)
        truth = (clean + slope / (2 * c)).clamp(0, 1)
        torch.testing.assert_close(state.memory["point"], truth, rtol=0, atol=1e-5)


def objective(model, weight, clean, goal, i, c):
    """Return the objective of image i and its gradient, for SciPy: c |r|^2 - cross-entropy of a linear model."""
    table, start = weight.double().numpy().reshape(len(weight), -1), clean[i].double().numpy().ravel()
    sign, of = (-1, goal.target[i]) if goal.target[i] >= 0 else (1, goal.label[i])

    def value(x):
        z = table @ x
        p = np.exp(z - z.max())
        p /= p.sum()
        rise = -table[of] + p @ table
        return c * ((x - start) ** 2).sum() + sign * np.log(p[of]), 2 * c * (x - start) - sign * rise

    return value, start


@pytest.mark.parametrize(("goal", "c"), [(MIXED, 8.0), (Goal(LABEL, torch.tensor([1, 3, 2, 0])), 0.2)])
def test_the_minimiser_is_that_of_scipys_l_bfgs_b(goal, c):
    """Start from black and white pixels, so that many end at a bound; the problem is convex (untargeted: for a large c)."""
    (model, weight), clean = linear(), images()
    attack = Lbfgs(WIDE, 41, 1, c, Eot(1))  # one more than are run: c stays
    state = run(attack, attack.start(clean, goal, mirror()), behind(model), 40)
    bounds = 0
    for i in range(4):
        value, start = objective(model, weight, clean, goal, i, c)
        options = {"ftol": 1e-14, "gtol": 1e-8}
        truth = minimize(value, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * SIZE, options=options)
        found = state.memory["point"][i].double().numpy().ravel()
        assert value(found)[0] == pytest.approx(truth.fun, rel=1e-5, abs=1e-6)
        assert float(state.memory["value"][i]) == pytest.approx(truth.fun, rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(found, truth.x, atol=2e-3)
        bounds += ((truth.x == 0) | (truth.x == 1)).sum()
    assert bounds > 20


class Valley(torch.nn.Module):
    """Classify two classes; the margin of class 1 is minus a quadratic of very different curvatures around an inner point."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.axes = torch.nn.Parameter(torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator)).Q)
        self.scales = torch.nn.Parameter(torch.logspace(-1, 1, SIZE))
        self.middle = torch.nn.Parameter(0.5 + 0.05 * torch.randn(SIZE, generator=generator))

    def forward(self, x):
        z = -(((x.flatten(1) - self.middle) @ self.axes).square() * self.scales).sum(1)
        return torch.stack([torch.zeros_like(z), z], dim=1)


def test_it_minimises_a_narrow_valley_as_fast_as_scipys():
    """Use a curvature 200 times as large over one axis as over another.

    Steepest descent with the best step would shrink the error by (199 / 201)^2 at each evaluation.
    """
    model, clean, c = Valley(), INNER[:1], 0.01
    axes, scales, middle = (p.detach().double().numpy() for p in (model.axes, model.scales, model.middle))
    start, values = clean[0].double().numpy().ravel(), []

    def value(x):
        rotated = (x - middle) @ axes
        values.append(c * ((x - start) ** 2).sum() + (scales * rotated**2).sum())
        return values[-1], 2 * c * (x - start) + 2 * axes @ (scales * rotated)

    options = {"maxcor": PAIRS, "ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    best = minimize(value, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * SIZE, options=options).fun
    attack, goal = Lbfgs(WIDE, 100, 1, c, Eot(1, "margin")), Goal(torch.tensor([0]), torch.tensor([1]))
    first, truth = values[0] - best, list(np.minimum.accumulate(values) - best)
    state = run(attack, attack.start(clean, goal, mirror(1)), behind(model), 15)
    for spent in range(15, 35, 5):  # the radius of this ball is no help with the first length: some ten evaluations later
        found = value(state.memory["point"][0].double().numpy().ravel())[0] - best
        assert found < 1.2 * truth[spent - 10] and found < first / 4 ** (spent / 5), spent
        state = run(attack, state, behind(model), 5)


class Waves(torch.nn.Module):
    """Classify two classes; class 1 leads by a wavy function of the image."""

    def forward(self, x):
        z = waves(x.flatten(1).double(), torch.sin).sum(1) - OFFSET
        return torch.stack([torch.zeros_like(z), z], dim=1).float()


OFFSET = 155.0


def waves(x, sin):
    return sin(7 * x) + x


def inverse(pairs, scale, free):
    """Return the inverse Hessian of BFGS, dense: from scale x 1, a rank-2 update by each pair, oldest first."""
    h, one = scale * np.eye(SIZE), np.eye(SIZE)
    for move, change in pairs:
        rho = 1 / (move @ change)
        h = (one - rho * np.outer(move, change)) @ h @ (one - rho * np.outer(change, move)) + rho * np.outer(move, move)
    return h * free * free[:, None]


def as_stored(ball, x, x0):
    x, x0 = (torch.from_numpy(side).float().view(1, 3, 8, 8) for side in (x, x0))
    return ball.store(ball.project(x, x0), x0)[0].double().numpy().ravel() / 255


def written_out(x0, steps, searches, c, radius, ball):
    """Attack one image without tensors; return every evaluated x, each round's (c, minimiser), and counts.

    The counts are those of rejections and of bounds.
    """
    point, value, slope, pairs, length = x0, np.inf, 0 * x0, [], 1.0
    x, xs, rounds, rejected, held, won, lost = x0, [], [], 0, 0, 0.0, np.inf
    for step in range(1, steps + 1):
        new_value = c * ((x - x0) ** 2).sum() - (waves(x, np.sin).sum() - OFFSET)
        new_slope = 2 * c * (x - x0) - (7 * np.cos(7 * x) + 1)
        if new_value <= value + 1e-4 * min(slope @ (x - point), 0):
            move, change = x - point, new_slope - slope
            if move @ change > 1e-6 * np.linalg.norm(move) * np.linalg.norm(change):
                pairs = [*pairs, (move, change)][-8:]
            point, value, slope, length = x, new_value, new_slope, 1.0
        else:
            length, rejected = length / 2, rejected + 1
        if step in (steps // searches * i for i in range(1, searches)) or step == steps:
            rounds.append((c, point))
            if waves(as_stored(ball, point, x0), np.sin).sum() > OFFSET:
                won, following = c, c * 10
            else:
                lost, following = c, c / 10
            following = math.sqrt(won * lost) if won > 0 and lost < np.inf else following
            value += (following - c) * ((point - x0) ** 2).sum()
            slope = slope + 2 * (following - c) * (point - x0)
            pairs = [(s, y + 2 * (following - c) * s) for s, y in pairs]
            c, length = following, 1.0
        free = ~((point == 0) & (slope > 0) | (point == 1) & (slope < 0))
        held += (~free).sum()
        some = [(s * free, y * free) for s, y in pairs]
        some = [(s, y) for s, y in some if s @ y > 1e-6 * np.linalg.norm(s) * np.linalg.norm(y)]
        scale = some[-1][0] @ some[-1][1] / (some[-1][1] @ some[-1][1]) if some else 1 / (2 * c)
        direction = -inverse(some, scale, free) @ slope
        direction *= min(1, radius / max(np.linalg.norm(direction), 1e-12))
        x = np.clip(point + length * direction, 0, 1)
        xs.append(x)
    return xs, rounds, rejected, held


@pytest.mark.parametrize(("ball", "c"), [(Ball("l2", 0.8), 4.0), (Ball("linf", 0.1), 0.5), (Ball("l2", 3.0), 100.0)])
def test_it_is_a_written_out_loop(ball, c):
    """Compare every trial point, every c and the result with dense matrices in double precision, image by image.

    Right after c has changed, the error of the last digits of float32 is a hundred times as large.
    """
    clean, steps, searches = images(), 22, 4
    attack = Lbfgs(ball, steps, searches, c, Eot(1, "margin"))
    state = attack.start(clean, Goal(torch.zeros(4, dtype=torch.int64), NO_TARGET), mirror())
    radius = ball.eps * (math.sqrt(SIZE) if ball.norm == "linf" else 1)
    truth = [written_out(clean[i].double().numpy().ravel(), steps, searches, c, radius, ball) for i in range(4)]
    for step in range(steps):
        state = attack.step(state, behind(Waves()), 1000)
        for i, (xs, *_) in enumerate(truth[: 4 * (step < steps - 1)]):  # the trial after the last step is never evaluated
            np.testing.assert_allclose(state.x[i].numpy().ravel(), xs[step], atol=4e-3, err_msg=f"{step}, {i}")
    assert sum(rejected for *_, rejected, _ in truth) > 0 and sum(held for *_, held in truth) > 0
    for i, (_, rounds, *_) in enumerate(truth):
        start = clean[i].double().numpy().ravel()
        distance = [
            np.linalg.norm(x - start) if waves(as_stored(ball, x, start), np.sin).sum() > OFFSET else np.inf for _, x in rounds
        ]
        best = rounds[int(np.argmin(distance)) if min(distance) < np.inf else -1][1]
        np.testing.assert_allclose(state.memory["best"][i].numpy().ravel(), best, atol=4e-3)
        assert float(state.memory["least"][i]) == pytest.approx(min(distance), rel=1e-3)
    projected = ball.project(state.memory["best"], clean)
    assert torch.equal(attack.result(state), projected) and not torch.equal(projected, clean)


def test_a_direction_is_that_of_dense_bfgs():
    """Use more pairs than are kept, one of which has the wrong curvature, and pixels at their bounds."""
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(2, 3, 8, 8, generator=generator)
    moves = torch.randn(2, PAIRS, 3, 8, 8, generator=generator)
    changes = moves * 2 + 0.3 * torch.randn(2, PAIRS, 3, 8, 8, generator=generator)
    changes[0, 3] *= -1
    moves[1, 5:], changes[1, 5:] = 0, 0  # not filled yet
    point = images(2)
    memory = {"point": point, "slope": slope, "moves": moves, "changes": changes, "c": torch.ones(2)}
    found, short = _direction(memory, 1e9), _direction(memory, 0.5)
    assert ((point == 0) | (point == 1)).any()
    for i, kept in ((0, [7, 6, 5, 4, 2, 1, 0]), (1, [4, 3, 2, 1, 0])):
        x, g = point[i].double().numpy().ravel(), slope[i].double().numpy().ravel()
        free = ~((x == 0) & (g > 0) | (x == 1) & (g < 0))
        pairs = [tuple(t[i, k].double().numpy().ravel() * free for t in (moves, changes)) for k in kept]
        newest = pairs[-1]
        truth = -inverse(pairs, newest[0] @ newest[1] / (newest[1] @ newest[1]), free) @ g
        np.testing.assert_allclose(found[i].numpy().ravel(), truth, atol=1e-4)
        np.testing.assert_allclose(short[i].numpy().ravel(), truth * 0.5 / np.linalg.norm(truth), atol=1e-4)


@pytest.mark.parametrize("targeted", [False, True])
def test_the_search_converges_to_the_largest_c_that_succeeds(targeted):
    """Use a linear model: w / (2 c) succeeds below a known c, and the smallest perturbation that succeeds is known too."""
    defended, goal, slope = two_classes(INNER, targeted)
    margin = defended.classifier(INNER)
    margin = torch.where(goal.label == 0, margin[:, 1] - margin[:, 0], margin[:, 0] - margin[:, 1])
    losing = margin < 0
    assert losing.any() and not losing.all()
    length = slope.flatten(1).norm(dim=1)
    largest = length.square() / (-2 * margin)
    attack = Lbfgs(WIDE, 36, 12, 1.0, Eot(1, "margin"))
    state = run(attack, attack.start(INNER, goal, mirror()), defended, 36)
    won, lost = state.memory["won"], state.memory["lost"]
    assert (won <= 1.02 * largest)[losing].all() and (largest <= 1.02 * lost)[losing].all()
    assert (lost / won)[losing].max() < 1.02
    torch.testing.assert_close(state.memory["least"][losing], (-margin / length)[losing], rtol=0.04, atol=0)
    assert lost[~losing].isinf().all() and (state.memory["least"][~losing] < 1e-6).all(), "won as they are"
    torch.testing.assert_close(attack.result(state)[~losing], INNER[~losing])


def test_without_success_the_result_is_the_last_minimiser():
    model, _ = linear(2)
    model[1].bias.data[0] = 1e6
    label = torch.zeros(4, dtype=torch.int64)
    attack = Lbfgs(Ball("l2", 0.5), 6, 3, 10.0, Eot(1, "margin"))
    state = run(attack, attack.start(INNER, Goal(label, NO_TARGET), mirror()), behind(model), 6)
    assert state.memory["least"].isinf().all() and torch.equal(state.memory["best"], state.memory["point"])
    torch.testing.assert_close(state.memory["c"], torch.full((4,), 0.01))
    torch.testing.assert_close((attack.result(state) - INNER).flatten(1).norm(dim=1), torch.full((4,), 0.5))


@pytest.mark.parametrize(("steps", "searches"), [(9, 3), (11, 3), (11, 6), (5, 5), (4, 1)])
def test_the_steps_are_divided_into_rounds(steps, searches):
    """Check that there are as many rounds as searches, of equal length except for the last."""
    attack = Lbfgs(WIDE, steps, searches)
    ends = [age for age in range(1, steps + 1) if attack._ends(age)]
    length = steps // searches
    assert ends == [length * i for i in range(1, searches)] + [steps]


def test_the_draws_are_the_same_in_all_steps_and_others_after_a_restart():
    """Check that the accepted value and slope are those of the point by the attempt's keys, and that these judge success."""
    defended, eot = behind(linear()[0], 2), Eot(4, "margin")
    attack = Lbfgs(Ball("l2", 2.0), 12, 2, 0.3, eot)
    twice = Restarts(attack, 2, 5)
    state, seen = twice.start(images(), MIXED, mirror()), []
    for step in range(24):
        if step in (5, 11, 12 + 5, 12 + 11):
            m, fixed = state.memory, rng.Mirror.of(rng.fold(rng.fold(keys(4), "lbfgs"), step // 12 * 12), "cpu")
            ascent, loss = gradient(defended, m["point"], MIXED, fixed, eot, 1000)
            apart = m["point"] - state.clean
            value = m["c"] * apart.square().flatten(1).sum(1) - loss
            torch.testing.assert_close(m["value"], value, rtol=1e-4, atol=1e-4)
            slope = 2 * m["c"][:, None, None, None] * apart - ascent
            torch.testing.assert_close(m["slope"], slope, rtol=1e-3, atol=1e-3)
            stored = attack.ball.store(attack.ball.project(m["best"], state.clean), state.clean).float() / 255
            margin = mean_loss(defended, stored, MIXED, fixed, "margin", 4, 1000)
            wins = m["least"].isfinite()
            assert (margin[wins] > 0).all()
            torch.testing.assert_close(m["least"][wins], (m["best"] - state.clean)[wins].flatten(1).norm(dim=1))
            seen.append(state.memory["point"])
        state = twice.step(state, defended, 1000)
    assert state.step.host.tolist() == [24] * 4 and state.forward_evals.tolist() == [2 * (2 * 4 + 5)] * 4
    assert not torch.equal(seen[0], seen[2]), "the restart repeats the first run"


def test_the_objective_only_falls_within_a_round():
    """Use one set of draws, through a random defense whose derivatives are not the true ones."""
    defended, attack = behind(linear()[0], 2), Lbfgs(Ball("linf", 0.1), 30, 1, 0.1, Eot(2))
    state, before = attack.start(images(), MIXED, mirror()), torch.full((4,), torch.inf)
    for _ in range(29):
        state = attack.step(state, defended, 1000)
        assert (state.memory["value"] <= before).all() and state.x.min() >= 0 and state.x.max() <= 1
        before = state.memory["value"]


def test_a_value_that_is_not_finite_is_rejected():
    class Cliff(torch.nn.Module):
        def forward(self, x):
            z = x.flatten(1).sum(1)
            return torch.stack([torch.zeros_like(z), torch.where(z > 100, torch.nan, z)], dim=1)

    clean, goal = torch.full((1, 3, 8, 8), 0.5), Goal(torch.tensor([0]), torch.tensor([-1]))
    attack = Lbfgs(Ball("linf", 0.3), 20, 1, 0.1, Eot(1, "margin"))
    state = run(attack, attack.start(clean, goal, mirror(1)), behind(Cliff()), 19)
    assert state.memory["value"].isfinite().all() and state.x.isfinite().all()
    assert 99 < state.memory["point"].sum() <= 100.001


def test_impossible_settings_are_refused():
    for searches, steps in ((0, 5), (6, 5)):
        with pytest.raises(ValueError, match="expected at least 1 and at most steps"):
            Lbfgs(WIDE, steps, searches)
    with pytest.raises(ValueError, match="expected a positive number"):
        Lbfgs(WIDE, c=0)
    assert Lbfgs(WIDE, eot=Eot(3, "dlr")).classes == 4
    state = Lbfgs(WIDE).start(images(), GOAL, mirror())
    assert replace(state, x=state.x).memory["moves"].shape == (4, PAIRS, 3, 8, 8)
