import math

import pytest
import torch
from scipy import stats
from torch import nn

import bart
from bart.certificate import radius
from bart.certificate.votes import CLASS, PER_STEP, VOTES
from tests.support.linear_models import assert_same, mirror

SIDE, SIGMA = 8, 0.25
BALL = bart.Ball("l2", 0.5)


def halfspace():
    """Return a model of two classes that is right on one side of a plane, behind noise, and images at known distances."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
    direction = torch.randn(3 * SIDE * SIDE, generator=torch.Generator().manual_seed(0))
    direction /= direction.norm()
    model[1].weight.data, model[1].bias.data = (
        torch.stack([direction, -direction]),
        torch.tensor([0.0, 2 * float(direction.sum() / 2)]),
    )
    distances = torch.tensor([0.0, 0.1, 0.3, 0.6])
    x = torch.full((4, 3, SIDE, SIDE), 0.5) + (distances[:, None] * direction).view(4, 3, SIDE, SIDE)
    model[1].bias.data = torch.tensor([-float(0.5 * direction.sum()), float(0.5 * direction.sum())])
    return (
        bart.Defended(bart.Classifier(model, (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), bart.defenses.Gaussian(SIGMA)),
        x,
        distances,
    )


def certified(attack, defended, x, keys, stack=64):
    state = attack.start(x, bart.Goal(torch.zeros(len(x), dtype=torch.int64), torch.full((len(x),), -1)), keys)
    while not bart.lanes.over(state, attack):
        state = bart.lanes.step(attack, state, defended, stack, len(x))
    return state


def test_on_a_half_space_the_radius_is_nearly_the_distance_and_never_above_it():
    """There p_A is Phi(distance / sigma), so the certificate is tight (Cohen et al., section 3)."""
    defended, x, distances = halfspace()
    attack = bart.Certify(BALL, 100, 4000)
    state = certified(attack, defended, x, mirror())
    assert state.memory[CLASS][1:].tolist() == [0, 0, 0]
    for hits, distance in zip(state.memory[VOTES].tolist()[1:], distances.tolist()[1:], strict=True):
        p = stats.norm.cdf(distance / SIGMA)
        assert abs(hits - 4000 * p) < 5 * math.sqrt(4000 * p * (1 - p)) + 1
        found = radius(hits, 4000, SIGMA, 0.001)
        assert found is not None and distance - 0.1 < found <= distance
    assert radius(int(state.memory[VOTES][0]), 4000, SIGMA, 0.001) is None, "on the plane it abstains"
    assert state.forward_evals.tolist() == [4100] * 4 and attack.cost == bart.Cost(0, 4100)


def test_votes_do_not_depend_on_batch_stack_or_interruption():
    defended, x, _ = halfspace()
    attack = bart.Certify(BALL, 50, 250)
    assert attack.steps == 1 + math.ceil(250 / PER_STEP)
    whole = certified(attack, defended, x, mirror())
    assert_same(certified(attack, defended, x, mirror(), stack=7), whole)
    alone = certified(attack, defended, x[2:3], mirror().map(lambda side: side[2:3]))
    assert_same(alone, whole.rows([2]))
    state = attack.start(x, bart.Goal(torch.zeros(4, dtype=torch.int64), torch.full((4,), -1)), mirror())
    for width in (1, 3, 2, 4, 4, 4, 4, 4, 4):  # images at different steps, from a checkpoint each time
        state = bart.State.of(bart.lanes.step(attack, state, defended, 64, width).tensors(), "cpu")
    while not bart.lanes.over(state, attack):
        state = bart.lanes.step(attack, state, defended, 64, 4)
    assert_same(state, whole)


def test_no_draw_is_used_twice_and_none_judges(monkeypatch):
    defended, x, _ = halfspace()
    seen, logits = [], bart.Defended.logits

    def watched(self, x, keys, *rest, **named):
        seen.append(keys.host)
        return logits(self, x, keys, *rest, **named)

    monkeypatch.setattr(bart.Defended, "logits", watched)
    certified(bart.Certify(BALL, 100, 150), defended, x, mirror())
    keys = torch.cat(seen)
    assert len(keys) == len(keys.unique()) == 4 * 250 and not (keys & bart.draw_keys.JUDGES).any()


@pytest.mark.parametrize("clip", [False, True])
def test_who_adds_noise_says_so(clip):
    gaussian = bart.defenses.Gaussian(0.3, clip)
    assert gaussian.noise == 0.3 and bart.Barrage(2).noise is None and bart.Undefended().noise is None
    assert bart.defenses.Compose((gaussian, bart.Barrage(2))).noise == 0.3
    assert bart.defenses.Compose((bart.defenses.BitDepth(3, 3), gaussian)).noise is None
