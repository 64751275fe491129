import numpy as np
import pytest
import torch
from scipy import stats

from bart import rng
from bart.ball import Ball
from tests.support.images import noise, with_black_and_white

UNLIKELY = 1e-4
EPS = {
    "linf": [1 / 255, 2 / 255, 8 / 255, 0.031, 16 / 255, 32 / 255, 0.5 / 255, 0.3],
    "l2": [0.25, 0.5, 1.0, 3.0, 128 / 255, 10.0],
}
CASES = [(norm, eps) for norm, radii in EPS.items() for eps in radii]


def norm_of(delta, norm):
    flat = np.abs(np.asarray(delta, dtype=np.float64)).reshape(len(delta), -1)
    return flat.max(1) if norm == "linf" else np.sqrt((flat**2).sum(1))


def written_projection(x, clean, norm, eps):
    """Project in double precision: onto the ball, then onto [0, 1]."""
    x, clean = np.asarray(x, dtype=np.float64), np.asarray(clean, dtype=np.float64)
    out = []
    for a, c in zip(x, clean, strict=True):
        delta = a - c
        if norm == "linf":
            delta = np.minimum(np.maximum(delta, -eps), eps)
        elif np.sqrt((delta**2).sum()) > eps:
            delta = delta * eps / np.sqrt((delta**2).sum())
        out.append(np.minimum(np.maximum(c + delta, 0), 1))
    return np.stack(out)


@pytest.mark.parametrize(("norm", "eps"), CASES)
def test_projection_is_its_closed_form(norm, eps):
    clean = with_black_and_white(40)
    for length in (0.0, 0.3, 1.0, 5.0):
        x = clean + length * eps * noise(clean)
        found = Ball(norm, eps).project(x, clean)
        np.testing.assert_allclose(found.numpy(), written_projection(x, clean, norm, eps), rtol=0, atol=1e-6)
        again = Ball(norm, eps).project(found, clean)
        torch.testing.assert_close(again, found, rtol=0, atol=2e-7)


@pytest.mark.parametrize("norm", list(EPS))
def test_projection_onto_the_ball_is_the_nearest_point(norm):
    """Check, away from black and white, that no point of the ball makes an angle below 90 degrees with the step back."""
    clean, eps = torch.full((30, 3, 4, 4), 0.5), 0.1
    x = clean + 0.1 * noise(clean)
    back = x - Ball(norm, eps).project(x, clean)
    for seed in range(20):
        inside = Ball(norm, eps).start(clean, torch.arange(30) + 100 * seed)
        assert ((inside - (x - back)) * back).flatten(1).sum(1).max() < 1e-6


@pytest.mark.parametrize(("norm", "eps"), CASES)
def test_a_start_is_inside_and_keyed_by_its_image(norm, eps):
    clean, seeds = with_black_and_white(50), torch.arange(50)
    ball = Ball(norm, eps)
    x = ball.start(clean, seeds)
    assert (norm_of(x - clean, norm) <= eps * (1 + 1e-5) + 1e-7).all() and x.min() >= 0 and x.max() <= 1
    assert torch.equal(ball.start(clean[7:9], seeds[7:9]), x[7:9])
    assert not torch.equal(ball.start(clean, seeds + 1), x)


def test_an_linf_start_is_uniform():
    clean = torch.full((40, 3, 6, 6), 0.5)
    delta = (Ball("linf", 0.1).start(clean, torch.arange(40)) - clean).double().flatten()
    assert stats.kstest(delta.numpy(), stats.uniform(-0.1, 0.2).cdf).pvalue > UNLIKELY


def test_an_l2_start_is_uniform_in_the_ball():
    """Test in d dimensions: (radius / eps)^d is U(0, 1), and (1 + cosine to any axis) / 2 is Beta((d - 1) / 2, (d - 1) / 2)."""
    eps, count, dimension = 0.2, 5000, 12
    clean = torch.full((count, 3, 2, 2), 0.5)
    delta = (
        Ball("l2", eps).start(clean, rng.fold(torch.zeros(count, dtype=torch.int64), torch.arange(count))) - clean
    ).double()
    radius = norm_of(delta, "l2")
    assert radius.max() <= eps * (1 + 1e-5)
    assert stats.kstest((radius / eps) ** dimension, "uniform").pvalue > UNLIKELY
    cosine = delta.flatten(1).numpy() / radius[:, None]
    half = (dimension - 1) / 2
    for axis in range(dimension):
        assert stats.kstest((1 + cosine[:, axis]) / 2, stats.beta(half, half).cdf).pvalue > UNLIKELY
    assert abs(np.corrcoef(radius, cosine[:, 0])[0, 1]) < 4.5 / count**0.5


@pytest.mark.parametrize(("norm", "eps"), CASES)
def test_a_step_is_the_steepest_ascent_then_the_projection(norm, eps):
    clean = with_black_and_white(40)
    ball, size, direction = Ball(norm, eps), eps / 3, noise(with_black_and_white(40), 3) * 1e-4
    x = ball.start(clean, torch.arange(40))
    exact = direction.double().numpy()
    unit = np.sign(exact) if norm == "linf" else exact / norm_of(exact, "l2")[:, None, None, None]
    truth = written_projection(x.double().numpy() + size * unit, clean, norm, eps)
    np.testing.assert_allclose(ball.step(x, direction, size, clean).numpy(), truth, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", list(EPS))
def test_a_pixel_without_a_gradient_stays_where_it_is(norm):
    clean = with_black_and_white(6)
    x = Ball(norm, 8 / 255).start(clean, torch.arange(6))
    direction = noise(clean)
    still = torch.rand(clean.shape, generator=torch.Generator().manual_seed(4)) < 0.5
    direction[still] = 0
    moved = Ball(norm, 1.0 if norm == "linf" else 100.0).step(x, direction, 1 / 255, clean)
    torch.testing.assert_close(moved[still], x[still], rtol=0, atol=1e-7)
    assert not torch.equal(moved[~still], x[~still])
    silent = Ball(norm, 8 / 255).step(x, torch.zeros_like(x), 1 / 255, clean)
    torch.testing.assert_close(silent, x, rtol=0, atol=1e-7)
    assert silent.isfinite().all()


@pytest.mark.parametrize("norm", list(EPS))
def test_a_saturated_pixel_pushed_outwards_stays_and_pushed_inwards_moves(norm):
    clean = torch.cat([torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)])
    sign = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand_as(clean)
    ball = Ball(norm, 0.1)
    assert torch.equal(ball.step(clean, sign, 0.1, clean), clean)
    each = 0.1 if norm == "linf" else 0.1 / 48**0.5
    torch.testing.assert_close(ball.step(clean, -sign, 0.1, clean), clean - each * sign, rtol=0, atol=1e-7)


def iterates(ball, clean):
    """Return points of the ball where an attack may end: on its border, inside, at its corners, and the clean image."""
    push = noise(clean, 5)
    return {
        "border": ball.step(clean, push, 2 * ball.eps, clean),
        "overshot": ball.project(clean + 10 * push, clean),
        "start": ball.start(clean, torch.arange(len(clean))),
        "half way": ball.project(clean + 0.5 * (ball.step(clean, push, 2 * ball.eps, clean) - clean), clean),
        "one pixel": ball.step(clean, push * (push > 2.5), 2 * ball.eps, clean),
        "clean": clean,
    }


@pytest.mark.parametrize(("norm", "eps"), CASES)
def test_a_stored_example_is_inside_the_ball_and_next_to_the_iterate(norm, eps):
    """Judge in integers, over thousands of images and every kind of iterate."""
    ball, clean = Ball(norm, eps), with_black_and_white(1500, seed=7)
    levels = (clean.double() * 255).round().long().numpy()
    for what, x in iterates(ball, clean).items():
        stored = ball.store(x, clean)
        assert stored.dtype == torch.uint8
        moved = stored.long().numpy() - levels
        squares = np.abs(moved).reshape(1500, -1).max(1) ** 2 if norm == "linf" else (moved**2).reshape(1500, -1).sum(1)
        assert (squares <= (255 * eps) ** 2 * (1 + 1e-6) + 1e-9).all(), what
        wanted = 255 * x.double().numpy() - levels
        along = moved * np.sign(wanted)
        assert (along >= 0).all() and (along <= np.abs(wanted) + 0.5 + 1e-4).all(), what
        nearest = (255 * x.double()).round().long().numpy() - levels
        inside = norm_of(nearest, norm) <= 255 * eps - 1e-3
        certain = np.abs(np.abs(wanted - nearest) - 0.5) > 1e-4
        assert (moved == nearest)[inside[:, None, None, None] & certain].all(), what


@pytest.mark.parametrize("steps", [1, 2, 8, 16, 32])
def test_a_whole_number_of_levels_is_stored_as_that_number(steps):
    """Exclude truncation, which would put darkened pixels outside: 5.9 % of the levels at eps = 8 / 255."""
    clean = (torch.arange(256.0) / 255).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    ball = Ball("linf", steps / 255)
    levels = torch.arange(256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    for sign in (-1, 1):
        x = ball.step(clean, torch.full((1, 3, 16, 16), float(sign)), 2 * ball.eps, clean)
        assert torch.equal(ball.store(x, clean).long(), (levels + sign * steps).clamp(0, 255))
        outside = (levels - (255 * x).byte().long() > steps).float().mean().item()
        assert outside > 0 if sign < 0 else outside == 0, "the trap is gone: is this still float32?"


def test_an_eps_between_levels_stores_the_level_below():
    clean = torch.full((1, 3, 4, 4), 100 / 255)
    for eps, level in ((0.031, 7), (0.0314, 8), (7.99 / 255, 7), (8.01 / 255, 8), (0.9 / 255, 0)):
        ball = Ball("linf", eps)
        assert (ball.store(ball.step(clean, torch.ones_like(clean), 1.0, clean), clean) == 100 + level).all()


@pytest.mark.parametrize("norm", list(EPS))
def test_the_clean_image_is_stored_as_itself(norm):
    clean = (torch.arange(256.0) / 255).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(Ball(norm, 1 / 255).store(clean, clean)[0, 0].flatten(), torch.arange(256, dtype=torch.uint8))


def test_distances_are_in_the_unit_of_eps():
    clean = with_black_and_white(30)
    levels = (255 * clean).round().long()
    stored = torch.randint(0, 256, clean.shape, generator=torch.Generator().manual_seed(2)).byte()
    delta = (stored.long() - levels).numpy() / 255
    for norm in EPS:
        found = Ball("linf", 8 / 255).distance(stored, clean, norm)
        np.testing.assert_allclose(found.numpy(), norm_of(delta, norm), rtol=1e-6)
        assert torch.equal(Ball(norm, 0.1).distance(stored, clean), found)


def best_gain(clean, slope, norm, eps):
    """Return the largest slope . delta over the ball and [0, 1], of one image in double precision, by bisection in L2."""
    clean, slope = clean.double().numpy(), slope.double().numpy()
    if norm == "linf":
        return (slope * (np.clip(clean + eps * np.sign(slope), 0, 1) - clean)).sum()
    low, high = 0.0, 1e9
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if np.linalg.norm(np.clip(clean + t * slope, 0, 1) - clean) <= eps else (low, t)
    return (slope * (np.clip(clean + low * slope, 0, 1) - clean)).sum()


@pytest.mark.parametrize(("norm", "eps"), CASES)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_the_farthest_point_along_a_sum_is_the_best_of_the_ball_and_the_box(norm, eps, scale):
    clean = with_black_and_white(20)
    total = noise(clean) * scale
    found = Ball(norm, eps).towards(total, clean)
    assert found.min() >= 0 and found.max() <= 1 and (norm_of(found - clean, norm) <= eps + 2e-6 * max(eps, 0.1)).all()
    for i in range(20):
        slope = total[i] / scale
        gain = (slope.double() * (found[i] - clean[i]).double()).sum().item()
        best = best_gain(clean[i], slope, norm, eps)
        assert abs(gain - best) <= 2e-5 * best + 1e-7 * np.abs(slope.numpy()).sum()


@pytest.mark.parametrize("norm", list(EPS))
def test_a_sum_of_zeros_asks_for_the_image_itself(norm):
    clean = with_black_and_white(4)
    for softness in (0.0, 0.5, 1.0):
        assert torch.equal(Ball(norm, 0.1).towards(torch.zeros_like(clean), clean, softness), clean)


def test_a_softer_ball_moves_weak_pixels_in_proportion():
    clean = torch.full((2, 3, 4, 4), 0.5)
    total = noise(clean)
    for softness in (1e-3, 0.3, 1.0, 4.0):
        found = Ball("linf", 0.1).towards(total, clean, torch.tensor([softness, 0.0]))
        mean = np.abs(total[0].numpy()).mean()
        wanted = 0.5 + 0.1 * np.clip(total[0].numpy() / (softness * mean), -1, 1)
        np.testing.assert_allclose(found[0].numpy(), wanted, rtol=0, atol=1e-6)
        torch.testing.assert_close(found[1], 0.5 + 0.1 * total[1].sign(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", list(EPS))
@pytest.mark.parametrize("length", [1e-44, 1e-38, 1e-30, 1e-22, 1e-13, 1.0, 1e19, 1e30, 1e38])
def test_a_gradient_of_any_length_moves_the_image_by_a_whole_step(norm, length):
    """Squares underflow below 1e-22 and overflow above 1e19; the truth is in double precision, where neither happens."""
    clean = with_black_and_white(8) * 0.2 + 0.4
    direction = (noise(clean).clamp(-2, 2) * length).float()
    exact = direction.double().numpy()
    unit = np.sign(exact) if norm == "linf" else exact / norm_of(exact, "l2")[:, None, None, None]
    np.testing.assert_allclose(Ball(norm, 1.0).steepest(direction).numpy(), unit, rtol=1e-5, atol=1e-7)


def test_the_level_of_a_gradient_changes_no_digit_of_its_direction():
    """Rows of campaigns stay as they were: a power of two cancels exactly."""
    for length in (1e-8, 1e-3, 1.0, 7.0, 1e5):
        direction = noise(with_black_and_white(20)) * length
        plain = direction / direction.flatten(1).norm(dim=1)[:, None, None, None]
        assert torch.equal(Ball("l2", 1.0).steepest(direction), plain)
