"""Hold what keeps draws that judge apart from draws that attack: a bit of their keys, and hashing that is one to one."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from bart import TRANSFORMS, Barrage, Defended, Goal, draw_keys, judge, rng
from bart.gradient import Eot, gradient, score
from bart.rng import Mirror
from tests.support.images import keys, photographs
from tests.support.linear_models import LABEL, NO_TARGET, behind, images, linear

UNLIKELY = 1e-4
WORD = (1 << 64) - 1
WILD = [0, -1, 1, 1 << 32, ~(1 << 32), -(1 << 63), (1 << 63) - 1, 12345678901234567]
"""Keys of images as no seed would give them."""


def mirror(count, seed=0):
    return Mirror.of(keys(count, seed), "cpu")


def mixed(x):
    """Return SplitMix64's finaliser of an unsigned integer, in Python's integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
    return x ^ (x >> 31)


def unmixed(x):
    """Return what `mixed` was given: its stages undone, last first."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        turned = x
        for _ in range(64 // shift):
            turned = x ^ (turned >> shift)
        x = turned * pow(factor, -1, 1 << 64) & WORD
    return x


def unfolded(child, number):
    """Return the key of which `child` is the child by a number."""
    return (unmixed(child & WORD) - (number + 1) * 0x9E3779B97F4A7C15) & WORD


def test_folding_can_be_undone_so_no_two_keys_have_the_same_child():
    some = torch.tensor([*WILD, *keys(50).tolist()])
    for name in ("groups", "evaluation", "sigma", *TRANSFORMS):
        children = rng.fold(some, name).tolist()
        assert [unfolded(child, rng._name(name)) for child in children] == [key & WORD for key in some.tolist()]
        assert children == [_signed(mixed((key + (rng._name(name) + 1) * 0x9E3779B97F4A7C15) & WORD)) for key in some.tolist()]


def _signed(x):
    return x - (1 << 64) if x >> 63 else x


@pytest.mark.parametrize("make", [draw_keys.to_attack, draw_keys.shared, draw_keys.to_judge])
def test_a_bit_tells_what_a_draw_is_for_whatever_the_keys_of_the_images(make):
    every = make(Mirror.of(torch.tensor([*WILD, *keys(100).tolist()]), "cpu"), 30).host
    assert ((every & (1 << 32) != 0) == (make is draw_keys.to_judge)).all()


def test_the_streams_share_no_draw_over_seeds_cells_purposes_steps_and_restarts():
    """Enumerate keys as attacks make them, also of images that have the same key in both streams."""
    judging, attacking, purposes = set(), set(), ("step", "restart", "break", "lbfgs", "report", "evaluation")
    for seed in range(5):
        image = Mirror.of(torch.tensor([*WILD, *keys(4, seed).tolist()]), "cpu")
        judging |= set(draw_keys.to_judge(image, 50).host.tolist())
        restarted = [image, *(image.map(rng.fold, "restart").map(rng.fold, step) for step in (3, 6))]
        for start, purpose, step in itertools.product(restarted, purposes, range(10)):
            of_step = Defended(None, None).keys(start, purpose, start.map(lambda side, step=step: torch.full_like(side, step)))
            attacking |= set(draw_keys.to_attack(of_step, 10).host.tolist()) | set(draw_keys.shared(of_step, 1).host.tolist())
    assert len(judging) == (len(WILD) + 4 * 5) * 50 and len(attacking) > 50_000
    assert not judging & attacking
    for child in ("groups", "grey_mix"):
        children = [set(rng.fold(torch.tensor(sorted(some)), child).tolist()) for some in (judging, attacking)]
        assert len(children[0]) == len(judging) and not children[0] & children[1], "a parameter of both from one number"


def test_more_draws_begin_with_the_draws_of_fewer():
    """Number the draws of an image: the mean over 2n draws contains that over n."""
    for make, bit in ((draw_keys.to_attack, 0), (draw_keys.to_judge, 1)):
        every, few = make(mirror(3), 8).host.view(3, 8), make(mirror(3), 3).host.view(3, 3)
        assert torch.equal(every[:, :3], few) and every.unique().numel() == 3 * 8
        parents = rng.fold(keys(3), "evaluation") if bit else keys(3)
        truth = torch.stack([rng.fold(parents, draw) for draw in range(8)], dim=1)
        assert torch.equal(every, truth & ~(1 << 32) | (bit << 32))


def test_draws_that_judge_are_independent_of_those_that_attack():
    """Use the transforms that both streams of one image choose: in each they are uniform, and together they are independent."""
    names = ("color_precision", "grey_mix", "noise", "fft")
    barrage, image = Barrage(1, names), mirror(400)
    chosen = []
    for all_keys in (draw_keys.to_judge(image, 25), draw_keys.to_attack(image.map(rng.fold, "step"), 25)):
        chosen.append(barrage.select(all_keys.host)[:, 0].numpy())
    table = np.zeros((len(names), len(names)))
    np.add.at(table, tuple(chosen), 1)
    assert stats.chi2_contingency(table).pvalue > UNLIKELY
    size = (8, 8)
    drawn = [
        TRANSFORMS["swirl"].draw(all_keys.host, size)
        for all_keys in (draw_keys.to_judge(image, 25), draw_keys.to_attack(image, 25))
    ]
    for name in drawn[0]:
        left, right = (side[name].double().flatten().numpy() for side in drawn)
        assert stats.ks_2samp(left, right).pvalue > UNLIKELY, f"{name} has another distribution where it judges"
        assert stats.pearsonr(left, right).pvalue > UNLIKELY, f"{name} where it judges tells of it where it attacks"


class Lucky(Defended):
    """Err in one of five draws, by the draw and the picture together: an attack can find luck, and nothing else."""

    def logits(self, x, state, policy=None, order_keys=None, fast=False):
        picture = (x.flatten(1) * 255).round().long() @ torch.arange(1, x[0].numel() + 1)
        wrong = rng.uniform(rng.fold(state.device, picture), "luck") < 0.2
        return torch.stack([~wrong, wrong], dim=1).float() + 0 * x.sum((1, 2, 3))[:, None]


def test_luck_that_an_attack_finds_in_its_draws_is_gone_in_those_that_judge():
    """Choose the best of 150 pictures by 20 draws: they say 55 % or less, fresh ones the true 80 %."""
    n, lucky, fresh = 30, Lucky(None, Barrage(1)), mirror(30)
    goal = Goal(torch.zeros(n, dtype=torch.int64), torch.full((n,), -1))
    best, most = torch.zeros(n, 3, 2, 2, dtype=torch.uint8), torch.full((n,), -1.0)
    for turn in range(150):
        tried = rng.integers(keys(n, turn), "pixels", 0, 255, (3, 2, 2)).byte()
        found = score(lucky, tried.float() / 255, goal, lucky.keys(fresh, "evaluation"), 20, 1000)
        better = found > most
        best[better], most = tried[better], torch.maximum(found, most)
    odds = torch.tensor([1.0, 0.0]).softmax(0)  # of the class that a draw says
    claimed = 1 - (most - odds[1]) / (odds[0] - odds[1])
    assert float(claimed.mean()) < 0.6, "the attack found no luck: this test tells nothing"
    right = (judge(lucky, best, fresh, 20, 1000).top5[:, :, 0] == 0).sum()
    assert stats.binomtest(int(right), 20 * n, 0.8).pvalue > UNLIKELY


@pytest.mark.parametrize("fixed_order", [False, True])
def test_a_frozen_defense_is_attacked_by_the_draw_that_judges(fixed_order):
    met = []

    class Noting(Defended):
        def logits(self, x, state, policy=None, order_keys=None, **options):
            met.append(self.defense.draw(state, (8, 8), order_keys))
            return super().logits(x, state, order_keys=order_keys, **options)

    names = ("color_precision", "grey_mix", "noise", "swirl")
    defended = Noting(behind(linear()[0]).classifier, Barrage(2, names), frozen=True)
    step = Mirror.of(torch.full((4,), 3), "cpu")
    gradient(
        defended, images(), Goal(LABEL, NO_TARGET), defended.keys(mirror(4), "step", step), Eot(1, fixed_order=fixed_order), 100
    )
    judge(defended, (photographs(8, 8) * 255).byte(), mirror(4), 1, 100)
    attacked, judged = ([[(part.name, part.params) for part in of_round.parts] for of_round in draw.rounds] for draw in met)
    assert str(attacked) == str(judged), "attack and verdict met other barrages"
