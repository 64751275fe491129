import pytest
import torch
from torch import nn

from bart import draw_keys, rng
from bart.bpda.policies import combo, identity
from bart.classifier import Classifier
from bart.defenses.barrage import Barrage
from bart.defenses.defended import Defended
from bart.gradient import Eot, Goal, _unit, gradient, pieces, rows, score
from bart.rng import Mirror
from tests.support.images import keys, photographs
from tests.support.tiny import Wavy

ESTIMATORS = ("per_draw", "mean_logits", "mean_probabilities")
GREYS = ("color_precision", "grey_mix", "grey_partial_mix", "grey_two_thirds", "grey_one_channel")
IMAGES, DRAWS, CLASSES, SIDE = 3, 5, 6, 8
LABEL = torch.tensor([0, 3, 5])


def defended(k=2, transforms=GREYS):
    return Defended(Classifier(Wavy(CLASSES), (0.4, 0.5, 0.6), (0.3, 0.2, 0.25), (SIDE, SIDE)), Barrage(k, transforms))


def images():
    return photographs(SIDE, SIDE, IMAGES) * 0.8 + 0.1


def untargeted(label):
    return Goal(label, torch.full_like(label, -1))


def mirror(seed=0):
    return Mirror.of(keys(IMAGES, seed), "cpu")


def written_loss(logits, y, loss, estimator):
    """Return the loss of one image from the logits (draws, classes) of its draws: plain formulas, no function of bart."""

    def of(scores):
        if loss == "ce":
            return scores.exp().sum().log() - scores[y]
        return torch.stack([scores[j] for j in range(CLASSES) if j != y]).max() - scores[y]

    if estimator == "per_draw":
        return sum(of(row) for row in logits) / len(logits)
    if estimator == "mean_logits":
        return of(logits.sum(0) / len(logits))
    probabilities = [row.exp() / row.exp().sum() for row in logits]
    return of((sum(probabilities) / len(logits)).log())


def written(x, label, state, eot, behind, policy=combo):
    """Return gradient and loss, image by image and draw by draw."""
    found = []
    for i in range(len(x)):
        leaf = x[i : i + 1].clone().requires_grad_()
        logits = []
        for draw in range(eot.draws):
            key = Mirror.of(rng.fold(state[i : i + 1], draw) & ~(1 << 32), "cpu")
            order = Mirror.of(state[i : i + 1] & ~(1 << 32), "cpu") if eot.fixed_order else None
            barrage = behind.defense
            y = barrage.apply(leaf, barrage.draw(key, (SIDE, SIDE), order), policy)
            logits.append(behind.classifier(y)[0])
        loss = written_loss(torch.stack(logits), label[i], eot.loss, eot.estimator)
        found.append((torch.autograd.grad(loss, leaf)[0][0], loss.detach()))
    return torch.stack([g for g, _ in found]), torch.stack([v for _, v in found])


def close(a, b):
    """Check equality to 1e-6 of the largest entry."""
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6 * max(1.0, b.abs().max().item()))


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("fixed_order", [False, True])
def test_the_gradient_is_autograd_of_the_written_out_formula(loss, estimator, fixed_order):
    eot, behind, x = Eot(DRAWS, loss, estimator, fixed_order=fixed_order), defended(), images()
    found, value = gradient(behind, x, untargeted(LABEL), mirror(), eot, stack=100)
    truth, expected = written(x, LABEL, keys(IMAGES), eot, behind)
    assert truth.abs().max() > 1e-2
    close(found, truth)
    close(value, expected)


def test_the_three_estimators_differ():
    behind, x = defended(), images()
    found = [gradient(behind, x, untargeted(LABEL), mirror(), Eot(DRAWS, estimator=name), 100)[0] for name in ESTIMATORS]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (found[i] - found[j]).abs().max() > 1e-3
    alone = [gradient(behind, x, untargeted(LABEL), mirror(), Eot(1, estimator=name), 100)[0] for name in ESTIMATORS]
    close(alone[1], alone[0])
    close(alone[2], alone[0])


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("stack", [1, 2, 3, 4, 5, 6, 10, 11, 14, 15])
def test_the_gradient_does_not_depend_on_the_stack(loss, estimator, stack):
    for fixed_order in (False, True):
        eot, behind, x = Eot(DRAWS, loss, estimator, fixed_order=fixed_order), defended(), images()
        whole = gradient(behind, x, untargeted(LABEL), mirror(), eot, stack=1000)
        found = gradient(behind, x, untargeted(LABEL), mirror(), eot, stack)
        close(found[0], whole[0])
        close(found[1], whole[1])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("stack", [2, 100])
def test_an_images_gradient_does_not_depend_on_its_batch(estimator, stack):
    """Sum the loss over the batch: with a mean, an image alone would have three times the gradient."""
    eot, behind, x = Eot(DRAWS, estimator=estimator), defended(), images()
    together, value = gradient(behind, x, untargeted(LABEL), mirror(), eot, stack)
    for i in range(IMAGES):
        one = slice(i, i + 1)
        alone, loss = gradient(behind, x[one], untargeted(LABEL[one]), Mirror.of(keys(IMAGES)[one], "cpu"), eot, stack)
        close(alone, together[one])
        close(loss, value[one])


def test_other_keys_give_another_gradient():
    eot, behind, x = Eot(DRAWS), defended(), images()
    first, again, other = (gradient(behind, x, untargeted(LABEL), mirror(seed), eot, 100) for seed in (0, 0, 1))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert ((first[0] - other[0]).flatten(1).norm(dim=1) > 1e-3).all()
    same = Mirror.of(keys(1).repeat(2), "cpu")
    twins = gradient(behind, x[:1].repeat(2, 1, 1, 1), untargeted(LABEL[:1].repeat(2)), same, eot, 100)[0]
    close(twins[1], twins[0])


@pytest.mark.parametrize(
    ("images_", "draws", "stack"), [(1, 1, 1), (3, 5, 2), (3, 5, 5), (7, 3, 7), (4, 40, 128), (9, 4, 8), (2, 10, 1)]
)
def test_pieces_cover_every_draw_of_every_image_once(images_, draws, stack):
    table = torch.arange(images_ * draws)
    seen = []
    for some, of in pieces(images_, draws, stack):
        part = rows(Mirror.of(table, "cpu"), draws, some, of).host
        assert 0 < len(part) <= stack
        assert torch.equal(part, table.view(images_, draws)[some, of].flatten())
        seen += part.tolist()
    assert sorted(seen) == table.tolist()
    passes = len(list(pieces(images_, draws, stack)))
    assert passes <= -(-images_ // max(1, stack // draws)) * -(-draws // min(draws, stack))


def test_the_policy_decides_how_transforms_are_differentiated():
    """Use grey images, which have no colour: with the identity the gradient is the classifier's at the grey image."""
    behind, x = defended(1, ("grey_mix",)), images()
    for name, policy in (("combo", combo), ("identity", identity)):
        eot = Eot(DRAWS, policy=name)
        close(
            gradient(behind, x, untargeted(LABEL), mirror(), eot, 100)[0],
            written(x, LABEL, keys(IMAGES), eot, behind, policy)[0],
        )
    found = [gradient(behind, x, untargeted(LABEL), mirror(), Eot(DRAWS, policy=p), 100)[0] for p in ("combo", "identity")]
    assert (found[0] - found[1]).abs().max() > 1e-2


def test_an_undefended_model_has_the_same_gradient_whatever_the_draws():
    behind, x = defended(0), images()
    leaf = x.clone().requires_grad_()
    logits = behind.classifier(leaf)
    truth = torch.autograd.grad(nn.functional.cross_entropy(logits, LABEL, reduction="sum"), leaf)[0]
    for draws, stack in ((1, 1), (4, 3), (4, 100)):
        for estimator in ESTIMATORS:
            close(gradient(behind, x, untargeted(LABEL), mirror(), Eot(draws, estimator=estimator), stack)[0], truth)


def test_inputs_are_left_alone_and_no_parameter_gathers_a_gradient():
    behind, x = defended(), images()
    before = x.clone()
    found, value = gradient(behind, x, untargeted(LABEL), mirror(), Eot(DRAWS, estimator="mean_logits"), 2)
    assert torch.equal(x, before) and not x.requires_grad
    assert not found.requires_grad and not value.requires_grad and found.dtype == torch.float32
    assert all(p.grad is None for p in behind.classifier.parameters())


def test_tiny_gradients_survive():
    """Use a confident model: the scaling in the backward pass must not change the value."""
    behind, x = defended(0), images()
    behind.classifier.model.second.data *= 6
    label = behind.classifier(x).argmax(1)
    leaf = x.clone().requires_grad_()
    truth = torch.autograd.grad(nn.functional.cross_entropy(behind.classifier(leaf), label, reduction="sum"), leaf)[0]
    found = gradient(behind, x, untargeted(label), mirror(), Eot(2), 100)[0]
    assert 0 < truth.abs().amax(dim=(1, 2, 3)).min() < 0.1
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-6 * truth.abs().max().item())


def test_the_expectation_is_the_analytic_one_of_a_linear_defense():
    """Use grey mix, which spreads each channel's weights evenly in the mean: E[ratio] = 1/3, and the readout is linear."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 12, generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    model[1].weight.data, model[1].bias.data = weight, torch.zeros(2)
    behind = Defended(Classifier(model, (0.0,) * 3, (1.0,) * 3, (2, 2)), Barrage(1, ("grey_mix",)))
    x, label = torch.full((1, 3, 2, 2), 0.5), torch.tensor([0])
    blocks = [
        gradient(behind, x, untargeted(label), Mirror.of(keys(1, seed), "cpu"), Eot(100, "margin"), 500)[0][0].double()
        for seed in range(40)
    ]
    found = torch.stack(blocks)
    slope = (weight[1] - weight[0]).double().view(3, 2, 2).sum(0)
    truth = (slope / 3).expand(3, 2, 2)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - truth).abs() < 4.5 * error).all()
    assert (error < 0.01 * slope.abs()).all()


@pytest.mark.parametrize("stack", [2, 7, 100])
def test_a_score_is_the_mean_of_success_and_of_its_probability(stack):
    """Compare image by image and draw by draw: whether the target, or any class but the label, comes first; and how likely."""
    behind, x, goal = defended(), images(), Goal(LABEL, torch.tensor([-1, 2, -1]))
    found = score(behind, x, goal, mirror(), DRAWS, stack)
    for i in range(IMAGES):
        scores = []
        for draw in range(DRAWS):
            key = Mirror.of(rng.fold(mirror().host[i : i + 1], draw) & ~(1 << 32), "cpu")
            z = behind.classifier(behind.defense.apply(x[i : i + 1], behind.defense.draw(key, (SIDE, SIDE))))[0].exp()
            p = z / z.sum()
            won = p.argmax() == 2 if i == 1 else p.argmax() != LABEL[i]
            scores.append((float(won) + float(p[2] if i == 1 else 1 - p[LABEL[i]])) / 2)
        assert found[i] == pytest.approx(sum(scores) / DRAWS, abs=1e-6)


def test_in_one_draw_a_success_beats_what_is_wrong_with_more_probability():
    """Classify by the first pixel: 0.40 against 0.35 and 0.25 is right, 0.45 against 0.55 is wrong and yet likelier right."""

    class Table(nn.Module):
        def forward(self, x):
            chances = torch.tensor([[0.40, 0.35, 0.25], [0.45, 0.55, 1e-9]])
            return chances.log()[x[:, 0, 0, 0].long()]

    plain = Defended(Classifier(Table(), (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
    x = torch.stack([torch.zeros(3, SIDE, SIDE), torch.ones(3, SIDE, SIDE)])
    keys = Mirror.of(torch.tensor([1, 1]), "cpu")
    right, wrong = score(plain, x, Goal(torch.zeros(2, dtype=torch.int64), torch.full((2,), -1)), keys, 1, 10)
    assert wrong == pytest.approx((1 + 0.55) / 2) and right == pytest.approx(0.6 / 2)


@pytest.mark.parametrize("stack", [1000, 4, 2, 1])
@pytest.mark.parametrize("fixed_order", [False, True])
def test_unit_gradients_are_the_mean_of_each_draws_gradient_over_its_l1_norm(stack, fixed_order):
    behind, x, eot = defended(), images(), Eot(DRAWS, "ce", fixed_order=fixed_order, unit=True)
    found, loss = gradient(behind, x, untargeted(LABEL), mirror(), eot, stack)
    every = draw_keys.to_attack(mirror(), DRAWS)
    for i in range(IMAGES):
        total, losses = torch.zeros(3, SIDE, SIDE), []
        for draw in range(DRAWS):
            leaf = x[i : i + 1].clone().requires_grad_()
            key = every.map(lambda side, at=i * DRAWS + draw: side[at : at + 1])
            order = draw_keys.shared(mirror(), 1).map(lambda side, at=i: side[at : at + 1]) if fixed_order else None
            logits = behind.logits(leaf, key, combo, order)[0]
            losses.append(logits.exp().sum().log() - logits[LABEL[i]])
            (slope,) = torch.autograd.grad(losses[-1], leaf)
            total += slope[0] / slope.abs().sum()
        torch.testing.assert_close(found[i], total / DRAWS, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(loss[i], sum(losses).detach() / DRAWS)


@pytest.mark.parametrize("scale", [1.0, 1e-36, 1e30])
def test_unit_gradients_keep_their_direction_at_any_scale(scale):
    class Scaled(Wavy):
        def forward(self, x):
            return super().forward(x) * scale

    def found(model):
        behind = Defended(Classifier(model, (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(0))
        return gradient(behind, images(), untargeted(LABEL), mirror(), Eot(1, "margin", unit=True), 10)[0]

    torch.testing.assert_close(found(Scaled(CLASSES)), found(Wavy(CLASSES)), rtol=1e-3, atol=1e-7)


def test_a_draw_without_gradient_and_entries_that_are_not_finite_spoil_no_other():
    parts = torch.ones(1, 3, 3, 2, 2)
    parts[0, 0] = 0
    parts[0, 1, 0, 0] = torch.tensor([torch.nan, torch.inf])
    unit = _unit(parts)
    assert torch.equal(unit[0, 0], torch.zeros(3, 2, 2))
    assert torch.equal(unit[0, 2], torch.full((3, 2, 2), 1 / 12))
    assert unit[0, 1, 0, 0].isfinite().sum() == 0 and torch.equal(unit[0, 1, 1:], torch.full((2, 2, 2), 1 / 10))


def test_unit_gradients_need_a_mean_over_the_draws():
    with pytest.raises(ValueError, match="'mean_logits' with unit gradients: expected a mean over draws: per_draw"):
        Eot(5, "ce", "mean_logits", unit=True)
