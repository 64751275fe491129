"""Each kind is held to its definition in closed form, and to what the engine relies on."""

import math

import pyarrow as pa
import pytest
import torch
from barrage_example.attack import Decay
from barrage_example.defense import Speckle
from torch import nn

from bart import ESTIMATORS, LOSSES, TRANSFORMS, Ball, Barrage, Classifier, Defended, Eot, Goal, Mirror, Pgd, key
from pipeline.scoring.rules import RULES

GOAL = Goal(torch.tensor([0, 1, 2, 0]), torch.tensor([-1, -1, 1, -1]))


@pytest.fixture
def images():
    """Return four images of 16 px with 8-bit values, (4, 3, 16, 16)."""
    return torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture
def keys():
    return Mirror.of(torch.tensor([key("example", i) for i in range(4)]), "cpu")


@pytest.fixture
def classifier():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
    with torch.no_grad():
        network[1].weight.copy_(torch.randn(3, 3 * 16 * 16, generator=torch.Generator().manual_seed(1)))
        network[1].bias.zero_()
    return Classifier(network, (0.0,) * 3, (1.0,) * 3, (16, 16))


def test_the_transform_is_its_definition_image_by_image(images, keys):
    negative = TRANSFORMS["negative"]
    params = negative.draw(keys.device, (16, 16))
    assert params["share"].min() >= 0 and params["share"].max() <= 0.4 and len(params["share"].unique()) == 4
    found = negative.apply(images, params)
    for i, share in enumerate(params["share"].tolist()):
        torch.testing.assert_close(found[i], images[i] + share * (1 - 2 * images[i]))
        alone = negative.apply(images[i : i + 1], {"share": params["share"][i : i + 1]})
        assert torch.equal(alone[0], found[i]), "an image depends on its batch"
    exact = images[:1].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: negative.apply(x, {"share": params["share"][:1]}), exact)


def test_the_transform_enters_a_barrage(keys):
    (part,) = Barrage(1, ("negative",)).draw(keys, (16, 16)).rounds[0].parts
    assert part.name == "negative" and part.images == 4


def test_the_attack_takes_shorter_and_shorter_steps(images, keys, classifier):
    defended, clean = Defended(classifier, Barrage(0)), images * 0.5 + 0.25
    attack = Decay(Ball("linf", 1.0), steps=4, step_size=0.04, random_start=False, eot=Eot(1))
    state = attack.start(clean, GOAL, keys)
    for t in range(4):
        following = attack.step(state, defended, stack=8)
        longest = (following.x - state.x).abs().amax((1, 2, 3))
        torch.testing.assert_close(longest, torch.full((4,), 0.04 * (1 - t / 4)), rtol=1e-4, atol=1e-6)
        state = following
    assert state.grad_evals.tolist() == [4] * 4 and attack.cost.gradients == 4


def test_the_attack_resumes_from_its_record_and_stays_in_its_ball(images, keys, classifier):
    defended = Defended(classifier, Barrage(1, ("negative", "hist_eq")))
    attack = Decay(Ball("linf", 8 / 255), steps=3, eot=Eot(2))
    state = attack.step(attack.start(images, GOAL, keys), defended, stack=8)
    again = type(state).of({name: value.clone() for name, value in state.tensors().items()}, "cpu")
    for _ in range(2):
        state, again = (attack.step(one, defended, stack=8) for one in (state, again))
    assert torch.equal(state.x, again.x)
    stored = attack.ball.store(attack.result(state), images)
    assert (attack.ball.distance(stored, images) <= 8 / 255 + 1e-5).all()


def test_the_loss_is_the_logarithm_of_the_odds():
    logits = torch.tensor([[2.0, 0.0, -1.0]]).expand(2, -1)
    found = LOSSES["odds"](logits, torch.tensor([0, 0]), torch.tensor([-1, 2]))
    p = [math.exp(z) / sum(math.exp(v) for v in (2, 0, -1)) for z in (2, -1)]
    torch.testing.assert_close(found, torch.tensor([-math.log(p[0] / (1 - p[0])), math.log(p[1] / (1 - p[1]))]))


def test_the_estimator_is_the_least_loss_of_the_draws():
    logits = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(2))
    found = ESTIMATORS["worst_draw"].loss(LOSSES["ce"], logits, GOAL)
    for i in range(4):
        goal = Goal(GOAL.label[i : i + 1], GOAL.target[i : i + 1])
        each = [float(LOSSES["ce"](logits[i, draw][None], *goal)) for draw in range(5)]
        assert float(found[i]) == pytest.approx(min(each))


def test_the_defense_draws_factors_of_its_sigma_that_depend_on_the_key_alone(images, keys, classifier):
    seen = []

    class Sees(nn.Module):
        def forward(self, x):
            seen.append(x.detach().clone())
            return torch.zeros(len(x), 3)

    watched = Classifier(Sees(), (0.0,) * 3, (1.0,) * 3, (16, 16))
    seen.clear()
    Defended(watched, Speckle(0.2)).logits(images, keys)
    Defended(watched, Speckle(0.2)).logits(images[2:3], Mirror.of(keys.host[2:3], "cpu"))
    together, alone = seen
    assert torch.equal(together[2], alone[0]), "the noise of an image depends on its batch"
    factors = (together / images)[images > 0.1]
    assert float(factors.std()) == pytest.approx(0.2, rel=0.05)
    assert float(factors.mean()) == pytest.approx(1, abs=0.02)


def test_an_attack_goes_through_the_defense(images, keys, classifier):
    defended = Defended(classifier, Speckle(0.1))
    attack = Pgd(Ball("linf", 0.1), 2, 0.05, eot=Eot(3, loss="odds", estimator="worst_draw"))
    state = attack.step(attack.start(images, GOAL, keys), defended, stack=2)
    assert state.grad_evals.tolist() == [3] * 4 and (state.x != images).any()


def test_the_rule_asks_for_two_thirds():
    rows = pa.table({"evaluation_draws": [6, 6, 3, 1], "adv_correct": [4, 3, 2, 1], "adv_top5_correct": [6, 4, 1, 0]})
    assert RULES["two_thirds"].score(rows, "adv", 1).tolist() == [1, 0, 1, 1]
    assert RULES["two_thirds"].score(rows, "adv", 5).tolist() == [1, 1, 0, 0]
