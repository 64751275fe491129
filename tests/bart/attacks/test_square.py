import math

import numpy as np
import pytest
import torch

from bart import Ball, Goal, draw_keys, rng
from bart.attacks.square import Square, _bump
from bart.gradient import forward_draws, mean_loss
from bart.losses import LOSSES
from tests.support.contracts.attacks import GOAL, MIXED, assert_contract, linear_optimum
from tests.support.images import keys
from tests.support.linear_models import NO_TARGET, SIDE, behind, images, linear, mirror, run

BALLS = [Ball("linf", 8 / 255), Ball("l2", 0.5)]
INNER = images() * 0.2 + 0.4


@pytest.mark.parametrize("ball", BALLS)
def test_the_contract(ball):
    assert_contract(Square(ball, 8, 3))


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("ball", "reached"), zip(BALLS, (0.75, 0.35), strict=True))
def test_it_comes_close_to_the_optimum_of_a_linear_model(ball, reached, targeted):
    """Expect less in L2: the weights are noise, and an L2 square is never smaller than 3 x 3 pixels."""
    gain = linear_optimum(Square(ball, 600, 1), targeted)
    assert (gain > reached).all() and (gain < 1 + 1e-5).all(), gain.tolist()


def test_a_share_outside_its_range_is_refused():
    for p in (0, -0.1, 1.1):
        with pytest.raises(ValueError, match="expected more than 0 and at most 1"):
            Square(BALLS[0], p=p)


def side_by_the_article(step, steps, p, norm):
    """Return the side by the piecewise constant schedule, written out, for a square image."""
    at = int(step / steps * 10_000 + 1e-6)
    for after, halvings in (
        (8000, 9),
        (6000, 8),
        (4000, 7),
        (2000, 6),
        (1000, 5),
        (500, 4),
        (200, 3),
        (50, 2),
        (10, 1),
        (-1, 0),
    ):
        if at > after:
            p = p / 2**halvings
            break
    side = round(math.sqrt(p) * SIDE)
    if norm == "linf":
        return min(max(side, 1), SIDE)
    side = max(side, 3)
    return min(side + 1 - side % 2, SIDE)


def test_the_sides_of_imagenet():
    """Expect sqrt(.8 / 2^i) 224 = 200.4, 141.7, 100.2, ... for 224 x 224 px; for L2 the next odd number."""
    linf, l2 = (Square(ball).sides((224, 224)) for ball in BALLS)
    assert linf == (200, 142, 100, 71, 50, 35, 25, 18, 13, 9)
    assert l2 == (201, 143, 101, 71, 51, 35, 25, 19, 13, 9)
    assert Square(BALLS[0], p=1).sides((32, 128))[:3] == (32, 32, 32) and Square(BALLS[1], p=0.001).sides((32, 32))[0] == 3


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("steps", [40, 1000, 10_000])
def test_the_side_of_a_step(ball, steps):
    attack = Square(ball, steps)
    for step in {0, 1, 2, 5, 6, 10, 11, 20, 21, 50, 51, 100, 101, 201, 500, 501, 800, 801, 1001, steps - 1} & set(range(steps)):
        state = attack.start(images(), GOAL, mirror())
        begun = torch.tensor([0, 7, 0, 100])  # the schedule is that of the running attempt
        state = type(state)(
            **vars(state) | {"step": rng.Mirror.of(begun + step, "cpu"), "began": rng.Mirror.of(begun, "cpu")},
        )
        assert attack._side(state).tolist() == [side_by_the_article(step, steps, 0.8, ball.norm)] * 4, step


def hills(rows, columns):
    """Return the article's bump of one sign, ring by ring from the middle outwards, of length 1."""
    delta = np.zeros((rows, columns))
    for ring in range(max(rows // 2 + 1, columns // 2 + 1)):
        top, left = rows // 2 - ring, columns // 2 - ring
        bottom, right = rows // 2 + ring + 1, columns // 2 + ring + 1
        delta[max(top, 0) : bottom, max(left, 0) : right] += 1 / (ring + 1) ** 2
    return delta / max(np.linalg.norm(delta), 1e-12)


def two_hills(side, turned):
    delta = np.concatenate([hills(side // 2, side), -hills(side - side // 2, side)])
    delta /= np.linalg.norm(delta)
    return delta.T if turned else delta


@pytest.mark.parametrize("turned", [False, True])
def test_a_bump_is_two_hills(turned):
    sides, row, column = torch.tensor([1, 2, 3, 5, 8, 11, 44, 45]), torch.arange(8), 3 * torch.arange(8)
    found = _bump((row, column), sides, torch.tensor([turned] * 8), (60, 70))
    for i, side in enumerate(sides.tolist()):
        truth = np.zeros((60, 70))
        truth[row[i] : row[i] + side, column[i] : column[i] + side] = two_hills(side, turned)
        np.testing.assert_allclose(found[i].numpy(), truth, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (33, 33), (24, 40)])
def test_the_starts(shape):
    clean = torch.rand(4, 3, *shape, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    seeds = rng.fold(keys(4), "start")
    linf, l2 = (Square(ball).start(clean, GOAL, mirror()).x for ball in BALLS)

    stripes = (linf - clean) / BALLS[0].eps
    torch.testing.assert_close(stripes.abs(), torch.ones_like(stripes))
    assert (stripes.std(2) < 1e-4).all() and (stripes.std(3) > 0.5).all() and (stripes.std(1) > 0.5).any()

    side = min(shape) // 5
    grid = [length // side for length in shape]
    top, left = [(length - side * count) // 2 for length, count in zip(shape, grid, strict=True)]
    turned, signs = rng.coin(seeds, "turned", (1, *grid)), rng.coin(seeds, "signs", (3, *grid))
    for image in range(4):
        truth = np.zeros((3, *shape))
        for i in range(grid[0]):
            for j in range(grid[1]):
                bump = two_hills(side, not turned[image, 0, i, j])
                rows = slice(top + i * side, top + (i + 1) * side)
                columns = slice(left + j * side, left + (j + 1) * side)
                for channel in range(3):
                    truth[channel, rows, columns] = bump if signs[image, channel, i, j] else -bump
        truth *= BALLS[1].eps / np.linalg.norm(truth)
        np.testing.assert_allclose((l2 - clean)[image].numpy(), truth, atol=1e-6)
        assert abs(truth).max() > 0.01


class Article:
    """Attack one image in NumPy in double precision, with random numbers by the names that the attack gives them."""

    def __init__(self, ball, side, key, step):
        self.eps, self.side = ball.eps, side
        self.seeds = rng.fold(rng.fold(key, "square"), step)
        room = torch.tensor([[SIDE - side, SIDE - side]])
        self.corner, self.other = (rng.integers(self.seeds, name, 0, room, (2,))[0] for name in ("corner", "other_corner"))
        self.signs = 2 * rng.coin(self.seeds, "signs", (3, 1, 1))[0].double().numpy() - 1

    def linf(self, x, clean):
        rows, columns = (slice(at, at + self.side) for at in self.corner)
        delta = np.zeros_like(x)
        delta[:, rows, columns] = 2 * self.eps * self.signs
        return np.clip(np.clip(x + delta, clean - self.eps, clean + self.eps), 0, 1)

    def l2(self, x, clean):
        nu, s = x - clean, self.side
        w1, w2 = (np.s_[:, r : r + s, c : c + s] for r, c in (self.corner, self.other))
        both = np.zeros_like(nu)
        both[w1], both[w2] = nu[w1], nu[w2]
        eta = two_hills(s, bool(rng.coin(self.seeds, "turned")))
        new = np.zeros((3, s, s))
        unused = max(self.eps**2 - np.linalg.norm(nu) ** 2, 0)
        for i in range(3):
            old = nu[w1][i]
            temp = self.signs[i] * eta + old / max(np.linalg.norm(old), 1e-12)
            new[i] = np.sqrt(np.linalg.norm(both[i]) ** 2 + unused / 3) / np.linalg.norm(temp) * temp
        nu[w2] = 0
        nu[w1] = new
        return np.clip(clean + nu * self.eps / np.linalg.norm(nu), 0, 1)


@pytest.mark.parametrize("ball", [Ball("linf", 8 / 255), Ball("linf", 0.3), Ball("l2", 0.5), Ball("l2", 3.0)])
@pytest.mark.parametrize("goal", [GOAL, MIXED])
def test_steps_are_those_of_a_written_out_loop(ball, goal):
    """Start from black and white pixels; a proposal stays if its margin is greater."""
    (model, weight), steps = linear(), 40
    attack, table = Square(ball, steps, 1), weight.double().numpy()
    state = attack.start(images(), goal, mirror())
    clean, x = images().double().numpy(), state.x.double().numpy()
    stayed = 0

    def value(image, i):
        z, wanted = (table * image).sum((1, 2, 3)), goal.target[i]
        of = goal.label[i] if wanted < 0 else wanted
        return (np.delete(z, of).max() - z[of]) * (1 if wanted < 0 else -1)

    for step in range(25):
        side = side_by_the_article(step, steps, 0.8, ball.norm)
        for i in range(4):
            proposal = getattr(Article(ball, side, keys(4)[i : i + 1], step), ball.norm)(x[i].copy(), clean[i])
            gain = value(proposal, i) - value(x[i], i)
            assert abs(gain) > 1e-5 or abs(proposal - x[i]).max() < 1e-6, "a tie: the truth is open"
            stayed += gain > 1e-5
            x[i] = proposal if gain > 1e-5 else x[i]
        state = attack.step(state, behind(model), 1000)
        np.testing.assert_allclose(state.x.numpy(), x, atol=3e-6)
    assert 10 < stayed < 90


@pytest.mark.parametrize("ball", BALLS)
def test_a_proposal_changes_squares_only_and_stays_on_the_sphere(ball):
    attack, squares = Square(ball, 100), []
    state = attack.start(INNER, GOAL, mirror())
    for step in range(60):
        state = type(state)(**vars(state) | {"step": rng.Mirror.of(torch.full((4,), step), "cpu")})
        proposal, side = attack._proposal(state), attack._side(state)
        delta = proposal - INNER
        if ball.norm == "linf":
            torch.testing.assert_close(delta.abs(), torch.full_like(delta, ball.eps))
            for i in range(4):
                rows, columns = torch.where((proposal != state.x)[i].any(0))
                if len(rows):
                    box = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
                    assert box[1] - box[0] <= side[i] and box[3] - box[2] <= side[i]
                    inside = delta[i, :, box[0] : box[1], box[2] : box[3]]
                    assert (inside - inside[:, :1, :1]).abs().max() < 1e-6, "one sign per channel"
                    squares.append(tuple(map(int, box)))
        else:
            torch.testing.assert_close(delta.flatten(1).norm(dim=1), torch.full((4,), ball.eps))
            changed = ((proposal - state.x).abs() > 1e-6).any(1).flatten(1).sum(1)
            assert (changed <= 2 * side**2).all()
            squares += changed.tolist()
        state = type(state)(**vars(state) | {"x": proposal})
    if ball.norm == "l2":
        assert np.mean(np.array(squares) > 0) > 0.9  # none where both squares hold nothing
    else:  # every row and column is reached, the first and the last too
        ends = np.array(squares).reshape(-1, 4)
        assert (ends.min(0)[[0, 2]] == 0).all() and (ends.max(0)[[1, 3]] == SIDE).all()
        assert len(set(squares)) > 60


def test_both_are_judged_by_the_same_fresh_draws():
    """Keep the better of two by the draws of this very step, for each image, through a random defense that often decides."""
    defended, attack = behind(linear()[0], 2), Square(BALLS[0], 30, 2)
    state = attack.start(INNER, MIXED, mirror())
    flips = 0
    for step in range(12):
        proposal, following = attack._proposal(state), attack.step(state, defended, 1000)
        fresh = rng.Mirror.of(rng.fold(rng.fold(keys(4), "step"), step), "cpu")
        before, after = (mean_loss(defended, x, MIXED, fresh, "margin", 2, 1000) for x in (state.x, proposal))
        truth = torch.where((after > before)[:, None, None, None], proposal, state.x)
        assert torch.equal(following.x, truth)
        elsewhere = rng.Mirror.of(rng.fold(fresh.host, 1), "cpu")
        flips += ((mean_loss(defended, proposal, MIXED, elsewhere, "margin", 2, 1000) > before) != (after > before)).sum()
        state = following
    assert flips > 0, "the draws never matter"


def test_a_tie_changes_nothing():
    model, _ = linear()
    model[1].weight.data.zero_()
    for ball in BALLS:
        start = Square(ball, 5, 1).start(INNER, GOAL, mirror())
        assert torch.equal(run(Square(ball, 5, 1), start, behind(model, 2), 5).x, start.x)


def test_a_value_that_is_not_a_number_never_wins_and_never_lasts():
    class Cliff(torch.nn.Module):
        def forward(self, x):
            z = torch.where(x[:, 0, 4, 4] > 0.5, torch.nan, x.flatten(1).sum(1))
            return torch.stack([torch.zeros_like(z), z], dim=1)

    goal, clean = Goal(torch.tensor([0]), torch.tensor([-1])), torch.full((1, 3, 8, 8), 0.5)
    attack, began = Square(Ball("linf", 0.1), 10_000, 1), []
    for seed in range(4):
        start = attack.start(clean, goal, mirror(1, seed))
        state = run(attack, start, behind(Cliff()), 60)
        assert state.x[0, 0, 4, 4] < 0.5 and state.x.mean() > 0.53
        began.append(bool(start.x[0, 0, 4, 4] > 0.5))
    assert True in began and False in began, "no start is on the cliff, or all are"


def test_the_mean_loss_is_the_mean_over_the_draws():
    """Compare with each draw's logits by its own key, in passes of any size."""
    defended, x = behind(linear()[0], 2), images()
    all_keys = draw_keys.to_attack(mirror(), 5)
    draws = torch.stack([defended.logits(x, all_keys.map(lambda side, draw=draw: side[draw::5])) for draw in range(5)])
    for name in LOSSES:
        truth = torch.stack([LOSSES[name](logits, *MIXED) for logits in draws]).mean(0)
        for stack in (1, 3, 7, 1000):
            found = mean_loss(defended, x, MIXED, mirror(), name, 5, stack)
            torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-4)
            assert not found.requires_grad
    assert next(iter(forward_draws(defended, x, all_keys, 5, 1000)))[2].shape == (4, 5, 5)
    assert NO_TARGET[0] == -1
