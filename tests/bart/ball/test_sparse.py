"""L1 and L0: held to a solver of quadratic programs, to bisection, to every choice of values, and to integers of 8 bits."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from bart.ball import Ball
from tests.support.images import noise, with_black_and_white

UNLIKELY = 1e-4
CASES = [("l1", eps) for eps in (0.05, 1.0, 12.0, 40.0)] + [("l0", eps) for eps in (1, 5, 24, 59, 60, 1000)]


def lengths(delta, norm):
    flat = np.abs(np.asarray(delta, dtype=np.float64)).reshape(len(delta), -1)
    return flat.sum(1) if norm == "l1" else (flat > 0).sum(1)


def bisected(x, clean, eps):
    """Project one image onto the L1 ball and [0, 1] by bisection of the threshold, in double precision."""
    x, clean = x.double().numpy(), clean.double().numpy()

    def moved(t):
        delta = np.sign(x - clean) * np.maximum(np.abs(x - clean) - t, 0)
        return np.clip(clean + delta, 0, 1)

    low, high = 0.0, float(np.abs(x - clean).max())
    if np.abs(moved(0.0) - clean).sum() <= eps:
        return moved(0.0)
    for _ in range(100):
        t = (low + high) / 2
        low, high = (t, high) if np.abs(moved(t) - clean).sum() > eps else (low, t)
    return moved(high)


@pytest.mark.parametrize("eps", [0.05, 1.0, 12.0, 40.0])
@pytest.mark.parametrize("length", [0.01, 0.3, 1.0, 50.0])
def test_the_l1_projection_is_that_of_a_bisection(eps, length):
    clean = with_black_and_white(20)
    x = clean + length * noise(clean)
    found = Ball("l1", eps).project(x, clean)
    for i in range(20):
        np.testing.assert_allclose(found[i].numpy(), bisected(x[i], clean[i], eps), rtol=0, atol=2e-6)


def test_the_l1_projection_solves_its_quadratic_program():
    """SciPy knows nothing of the structure: it minimises |z - x|^2 over moves up and down, each at least 0, with a sum."""
    clean, eps = with_black_and_white(6, (3, 2, 2)), 0.8
    x = clean + 0.5 * noise(clean)
    found = Ball("l1", eps).project(x, clean)
    for i in range(6):
        c, wanted = clean[i].double().flatten().numpy(), x[i].double().flatten().numpy()
        d = len(c)

        def apart(moves, c=c, wanted=wanted, d=d):
            return ((c + moves[:d] - moves[d:] - wanted) ** 2).sum()

        within = {"type": "ineq", "fun": lambda moves: eps - moves.sum()}
        room = [(0, 1 - value) for value in c] + [(0, value) for value in c]
        best = optimize.minimize(apart, np.zeros(2 * d), bounds=room, constraints=[within], tol=1e-12, options={"maxiter": 500})
        assert best.success
        np.testing.assert_allclose(found[i].flatten().numpy(), c + best.x[:d] - best.x[d:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("eps", [1, 2, 3, 5])
def test_the_l0_projection_is_the_best_of_every_choice_of_values(eps):
    clean = with_black_and_white(6, (3, 2, 1), seed=3)
    x = clean + noise(clean)
    found = Ball("l0", eps).project(x, clean)
    for i in range(6):
        c, wanted = clean[i].double().flatten(), x[i].double().flatten()
        distances = []
        for chosen in combinations(range(6), eps):
            z = c.clone()
            z[list(chosen)] = wanted[list(chosen)].clamp(0, 1)
            distances.append(((z - wanted) ** 2).sum().item())
        assert ((found[i].double().flatten() - wanted) ** 2).sum().item() == pytest.approx(min(distances), rel=1e-6)


@pytest.mark.parametrize(("norm", "eps"), CASES)
def test_a_projection_is_inside_and_stays(norm, eps):
    clean = with_black_and_white(40)
    ball = Ball(norm, eps)
    for length in (0.0, 1e-3, 0.3, 5.0):
        found = ball.project(clean + length * noise(clean), clean)
        assert (lengths(found - clean, norm) <= eps * (1 + 1e-5)).all() and found.min() >= 0 and found.max() <= 1
        torch.testing.assert_close(ball.project(found, clean), found, rtol=0, atol=1e-6)
    assert torch.equal(ball.project(clean, clean), clean)


@pytest.mark.parametrize(("norm", "eps"), CASES)
def test_a_start_is_inside_and_keyed_by_its_image(norm, eps):
    clean, seeds, ball = with_black_and_white(50), torch.arange(50), Ball(norm, eps)
    x = ball.start(clean, seeds)
    assert (lengths(x - clean, norm) <= eps * (1 + 1e-5)).all() and x.min() >= 0 and x.max() <= 1
    assert torch.equal(ball.start(clean[7:9], seeds[7:9]), x[7:9])
    assert not torch.equal(ball.start(clean, seeds + 1), x)


def test_an_l1_start_is_uniform_in_the_ball():
    """In d dimensions (|x|_1 / eps)^d is U(0, 1), the share of one value is Beta(1, d - 1), and signs are fair."""
    eps, count, d = 0.3, 4000, 12
    clean = torch.full((count, 3, 2, 2), 0.5)
    delta = (Ball("l1", eps).start(clean, torch.arange(count)) - clean).double().flatten(1).numpy()
    size = np.abs(delta).sum(1)
    assert stats.kstest((size / eps) ** d, "uniform").pvalue > UNLIKELY
    for value in range(d):
        assert stats.kstest(np.abs(delta[:, value]) / size, stats.beta(1, d - 1).cdf).pvalue > UNLIKELY
        assert stats.binomtest(int((delta[:, value] > 0).sum()), count).pvalue > UNLIKELY
        assert abs(np.corrcoef(size, np.abs(delta[:, value]) / size)[0, 1]) < 4.5 / count**0.5


def test_an_l0_start_changes_values_at_uniform_places_to_uniform_values():
    count, eps = 2000, 3
    clean = torch.full((count, 3, 2, 2), -1.0)
    x = Ball("l0", eps).start(clean + 1.5, torch.arange(count)).flatten(1).numpy()
    changed = x != 0.5
    assert (changed.sum(1) == eps).all()
    assert stats.chisquare(changed.sum(0)).pvalue > UNLIKELY
    assert stats.kstest(x[changed], "uniform").pvalue > UNLIKELY


def best_gain(clean, slope, norm, eps):
    """Return the largest slope . delta over the ball and [0, 1] of one image: by a linear program, or the best values."""
    clean, slope = clean.double().flatten().numpy(), slope.double().flatten().numpy()
    gains = np.maximum(slope * (1 - clean), -slope * clean)
    if norm == "l0":
        return np.sort(gains)[::-1][: int(eps)].sum()
    room = [(0, 1 - c) for c in clean] + [(0, c) for c in clean]
    found = optimize.linprog(np.concatenate([-slope, slope]), A_ub=np.ones((1, 2 * len(clean))), b_ub=[eps], bounds=room)
    return -found.fun


@pytest.mark.parametrize(("norm", "eps"), CASES)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_the_farthest_point_along_a_sum_is_the_best_of_the_ball_and_the_box(norm, eps, scale):
    clean = with_black_and_white(12)
    total = noise(clean) * scale
    found = Ball(norm, eps).towards(total, clean)
    assert found.min() >= 0 and found.max() <= 1 and (lengths(found - clean, norm) <= eps * (1 + 1e-5)).all()
    for i in range(12):
        slope = total[i].double() / scale
        gain = (slope * (found[i] - clean[i]).double()).sum().item()
        assert gain == pytest.approx(best_gain(clean[i], slope, norm, eps), rel=2e-5, abs=1e-6)
    for softness in (0.0, 0.5):
        assert torch.equal(Ball(norm, eps).towards(torch.zeros_like(clean), clean, softness), clean)


def test_the_steepest_step_of_l1_moves_the_value_with_the_largest_derivative():
    direction = noise(with_black_and_white(9)) * 1e-20
    step = Ball("l1", 1.0).steepest(direction)
    assert (lengths(step, "l1") == 1).all() and (lengths(step, "l0") == 1).all()
    torch.testing.assert_close((step * direction).flatten(1).sum(1), direction.abs().flatten(1).amax(1))
    assert not Ball("l1", 1.0).steepest(torch.zeros_like(direction)).any()
    with pytest.raises(ValueError, match="norm 'l0': steps have no length"):
        Ball("l0", 1).steepest(direction)


@pytest.mark.parametrize(("norm", "eps"), [*CASES, ("l1", 0.9 / 255), ("l1", 3.3 / 255)])
def test_a_stored_example_is_inside_the_ball_and_next_to_the_iterate(norm, eps):
    ball, clean = Ball(norm, eps), with_black_and_white(400, seed=7)
    levels = (clean.double() * 255).round().long().numpy()
    push = noise(clean, 5)
    kinds = {"border": ball.project(clean + push, clean), "start": ball.start(clean, torch.arange(400)), "clean": clean,
             "corner": ball.towards(push, clean), "thin": ball.project(clean + push / 200, clean)}  # fmt: skip
    for what, x in kinds.items():
        moved = ball.store(x, clean).long().numpy() - levels
        most = eps if norm == "l0" else 255 * eps + 1e-3
        assert (lengths(moved, norm) <= most).all(), what
        wanted = 255 * x.double().numpy() - levels
        along = moved * np.sign(wanted)
        assert (along >= 0).all() and (along <= np.abs(wanted) + 0.5 + 1e-4).all(), what
        nearest = np.round(wanted)
        inside = lengths(nearest, norm) <= most - 1e-2
        certain = np.abs(np.abs(wanted - nearest) - 0.5) > 1e-4
        assert (moved == nearest)[inside[:, None, None, None] & certain].all(), what


def test_distances_are_in_the_unit_of_eps():
    clean = with_black_and_white(30)
    stored = torch.randint(0, 256, clean.shape, generator=torch.Generator().manual_seed(2)).byte()
    stored[0] = (255 * clean[0]).round().byte()
    moved = stored.long().numpy() - (255 * clean).round().long().numpy()
    np.testing.assert_allclose(Ball("l1", 1).distance(stored, clean).numpy(), lengths(moved, "l1") / 255, rtol=1e-6)
    np.testing.assert_array_equal(Ball("linf", 0.1).distance(stored, clean, "l0").numpy(), lengths(moved, "l0"))


def test_a_radius_of_l0_is_a_whole_number():
    with pytest.raises(ValueError, match=r"ball 'l0', 2\.5: expected a whole number"):
        Ball("l0", 2.5)
    with pytest.raises(ValueError, match="expected a norm of linf, l2, l1, l0"):
        Ball("l3", 1)
