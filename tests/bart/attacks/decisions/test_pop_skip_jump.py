import numpy as np
import pytest
import torch
from torch import nn

from bart import Ball, Barrage, Classifier, Defended, Goal, PopSkipJump, Restarts, rng
from tests.support.contracts.attacks import assert_contract
from tests.support.linear_models import NO_TARGET, SIDE, behind, images, linear, mirror, run


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
@pytest.mark.parametrize("restarts", [1, 2])
def test_the_contract(norm, eps, restarts):
    attack = PopSkipJump(Ball(norm, eps), 4, 10)
    assert_contract(attack if restarts == 1 else Restarts(attack, restarts, 3))


def two_classes():
    """Return a linear model, images that it sees as they are labelled, and their distances from its boundary by norm."""
    model, weight = linear(2)
    clean = ((images() * 0.2 + 0.4) * 255).round() / 255
    with torch.no_grad():
        logits = model(clean)
    label = logits.argmax(1)
    margin = (logits[:, 0] - logits[:, 1]).abs()
    slope = (weight[0] - weight[1]).flatten()
    return model, clean, label, {norm: margin / slope.norm(p=dual) for norm, dual in (("l2", 2), ("linf", 1))}


@pytest.mark.parametrize(("norm", "most"), [("l2", 1.1), ("linf", 1.3)])
def test_it_comes_near_the_distance_of_a_linear_boundary(norm, most):
    model, clean, label, distances = two_classes()
    attack = PopSkipJump(Ball(norm, 1.0), 30, 100)
    state = run(attack, attack.start(clean, Goal(label, NO_TARGET), mirror()), behind(model), 30)
    share = state.memory["distance"] / distances[norm]
    assert (share > 0.98).all() and (share < most).all(), share
    for eps in (1.02 * most * distances[norm].max().item(), 0.9 * distances[norm].min().item()):
        inside = PopSkipJump(Ball(norm, eps), 30, 100)
        wrong = model(inside.result(state)).argmax(1) != label
        assert wrong.all() if eps > distances[norm].max() else not wrong.any()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 3.0])
def test_a_jump_is_the_covariance_of_answers_and_directions(share):
    """Written out in NumPy, from the fields that the attack draws, at `share` of the way to the boundary of a linear model."""
    model, clean, label, distances = two_classes()
    attack = PopSkipJump(Ball("l2", 1.0), 30, 60)
    state = attack.start(clean, Goal(label, NO_TARGET), mirror())
    weight = next(model.parameters()).detach().double()
    slope = torch.stack([weight[1 - i] - weight[i] for i in label.tolist()]).view_as(clean)
    way = slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
    edge = (clean + share * distances["l2"][:, None, None, None] * way).float()
    jump = attack._jump(state, edge, torch.full((4,), 0.02), behind(model), 1000).double()
    away = (edge - clean).flatten(1).norm(dim=1)[:, None, None, None]
    seeds = rng.fold(rng.fold(state.keys.device, "direction"), 0)
    answers, directions = [], []
    for i in range(60):
        direction = rng.normal_field(seeds, (3, SIDE, SIDE), i)
        point = (edge + 0.02 * away * direction).clamp(0, 1)
        answers.append(np.where((model(point).argmax(1) != label).numpy(), 1.0, -1.0))
        directions.append(((point - edge) / (0.02 * away).clamp_min(1e-12)).double().numpy())
    signs, apart = np.stack(answers)[:, :, None, None, None], np.stack(directions)
    mean = signs.mean(0)
    wanted = np.where(np.abs(mean) == 1, mean * apart.sum(0), ((signs - mean) * apart).sum(0))
    np.testing.assert_allclose(jump.numpy(), wanted, rtol=0, atol=2e-3)
    assert share != 1 or ((jump * way).flatten(1).sum(1) > 0.3 * jump.flatten(1).norm(dim=1)).all(), "it points across"


class Noisy(nn.Module):
    """Answer by a linear model of two classes, and wrongly where the last bits of the picture's sum, hashed, say so."""

    def __init__(self, model, share):
        super().__init__()
        self.model, self.share = model, share

    def forward(self, x):
        logits = self.model(x)
        seeds = (x.double().sum((1, 2, 3)) * 2**30).long()
        return torch.where((rng.uniform(seeds, "flip") < self.share)[:, None], logits.flip(1), logits)


def test_it_expects_wrong_answers():
    """An answer in ten is flipped: the boundary stays where it was, and so does what the attack finds, nearly."""
    model, clean, label, distances = two_classes()
    defended = Defended(Classifier(Noisy(model, 0.1), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    attack = PopSkipJump(Ball("l2", 1.0), 30, 100)
    state = run(attack, attack.start(clean, Goal(label, NO_TARGET), mirror()), defended, 30)
    edge = state.memory["nearest"]
    delta = edge - clean
    with torch.no_grad():
        logits, start = model(edge), model(clean)
    sides = torch.gather(logits, 1, label[:, None])[:, 0] - torch.gather(logits, 1, 1 - label[:, None])[:, 0]
    first = torch.gather(start, 1, label[:, None])[:, 0] - torch.gather(start, 1, 1 - label[:, None])[:, 0]
    crossed = delta.flatten(1).norm(dim=1) * first / (first - sides)  # where the way through the edge meets the true boundary
    assert (crossed < 1.35 * distances["l2"]).all(), crossed / distances["l2"]


def test_questions_are_fresh_draws():
    """No two questions have the same key: neither within a step, nor of two steps, nor of the starts."""
    seen = []

    class Watching(Defended):
        def logits(self, x, keys, *more, **options):
            seen.extend(keys.host.tolist())
            return super().logits(x, keys, *more, **options)

    model, clean, label, _ = two_classes()
    defended = behind(model, 2)
    watching = Watching(defended.classifier, defended.barrage)
    attack = PopSkipJump(Ball("l2", 1.0), 3, 7)
    run(attack, attack.start(clean, Goal(label, NO_TARGET), mirror()), watching, 3, stack=5)
    assert len(seen) == len(set(seen)) == 4 * attack.cost.forwards


def test_another_norm_is_refused():
    with pytest.raises(ValueError, match="norm 'l1': PopSkipJump attacks in linf or l2"):
        PopSkipJump(Ball("l1", 1.0))
