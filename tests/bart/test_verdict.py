import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bart import rng
from bart.attacks.pgd import Pgd
from bart.ball import Ball
from bart.classifier import Classifier
from bart.defenses.barrage import Barrage
from bart.defenses.defended import Defended
from bart.gradient import Eot, Goal
from bart.rng import Mirror
from bart.verdict import judge
from tests.support.images import keys, photographs

UNLIKELY = 1e-4
SIDE = 8


def mirror(count, seed=0):
    return Mirror.of(keys(count, seed), "cpu")


def plain(model):
    return Classifier(model, (0.0,) * 3, (1.0,) * 3, (2, 2))


class GreenAbove(nn.Module):
    """Classify as 1 if the first pixel's green is above a threshold, else as 0."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    def forward(self, x):
        return torch.stack([self.threshold.expand(len(x)), x[:, 1, 0, 0]], dim=1)


class Keyed:
    """Return logits that are uniform numbers by key alone, and record every key."""

    def __init__(self, classes):
        self.classes, self.seen, self.rows, self.frozen = classes, [], [], False

    def scores(self, state):
        return 6 * rng.uniform(state, "score", shape=(self.classes,))

    def logits(self, x, state, policy=None, order_keys=None, fast=False):
        assert not fast, "a verdict in the attack's precision"
        assert len(x) == len(state.host)
        self.seen += state.host.tolist()
        self.rows.append(len(x))
        return self.scores(state.device)


def evaluation_keys(state, draws):
    return torch.stack([rng.fold(rng.fold(state, "evaluation"), draw) | 1 << 32 for draw in range(draws)], dim=1)


def red(count, value=255):
    stored = torch.zeros(count, 3, 2, 2, dtype=torch.uint8)
    stored[:, 0] = value
    return stored


@pytest.mark.parametrize(
    ("name", "threshold", "rate"),
    [
        ("grey_two_thirds", 1e-4, 1 / 3),  # green becomes a mix with red only where blue is the channel left alone
        ("grey_one_channel", 1e-6, 1 / 3),  # green is altered where it is the channel chosen
        ("grey_partial_mix", 0.0, 1.0),  # green always gets its share
    ],
)
def test_the_judged_rate_is_the_known_one(name, threshold, rate):
    """Use a model that errs by its transform's coin: on fresh draws, no attack and no choice of draws changes the rate."""
    defended = Defended(plain(GreenAbove(threshold)), Barrage(1, (name,)))
    verdict = judge(defended, red(4), mirror(4), draws=1500, stack=1000)
    hits = (verdict.top5[:, :, 0] == 1).sum(1)
    if rate == 1:
        assert hits.tolist() == [1500] * 4
        return
    assert all(stats.binomtest(h, 1500, rate).pvalue > UNLIKELY for h in hits.tolist())
    assert stats.binomtest(int(hits.sum()), 6000, rate).pvalue > UNLIKELY


def test_the_judged_rate_follows_the_closed_form_of_a_mix():
    """Use green of a red image behind grey_two_thirds with unchanged blue, a / (a + b) of two uniforms: P(> t) = ..."""
    for threshold, above in ((0.25, 1 - 0.25 / (2 * 0.75)), (0.5, 0.5), (0.75, 0.25 / (2 * 0.75))):
        defended = Defended(plain(GreenAbove(threshold)), Barrage(1, ("grey_two_thirds",)))
        verdict = judge(defended, red(1), mirror(1, seed=3), draws=6000, stack=2000)
        assert stats.binomtest(int((verdict.top5[:, :, 0] == 1).sum()), 6000, above / 3).pvalue > UNLIKELY


def test_draws_of_an_image_are_independent_and_images_too():
    defended = Defended(plain(GreenAbove(1e-4)), Barrage(1, ("grey_two_thirds",)))
    wrong = (judge(defended, red(40), mirror(40), draws=100, stack=100).top5[:, :, 0] == 1).double()
    spread = 39 * wrong.mean(1).var().item() / (1 / 3 * 2 / 3 / 100)
    assert 1e-3 < stats.chi2(39).cdf(spread) < 1 - 1e-3
    serial = torch.corrcoef(torch.stack([wrong[:, 1:].flatten(), wrong[:, :-1].flatten()]))[0, 1]
    between = torch.corrcoef(torch.stack([wrong[1:].flatten(), wrong[:-1].flatten()]))[0, 1]
    assert abs(serial) < 4.5 / 3960**0.5 and abs(between) < 4.5 / 3900**0.5


@pytest.mark.parametrize("classes", [10, 5])
def test_the_verdict_is_the_written_out_one(classes):
    """Compare with plain NumPy: the best five of every draw and of the mean probability, by the evaluation's keys."""
    draws, state = 9, keys(6)
    verdict = judge(Keyed(classes), red(6), Mirror.of(state, "cpu"), draws, stack=4)
    assert verdict.top5.shape == (6, draws, 5) and verdict.mean_top5.shape == (6, 5)
    assert verdict.top5.dtype == verdict.mean_top5.dtype == torch.int64
    differ = 0
    for i, row in enumerate(evaluation_keys(state, draws)):
        z = Keyed(classes).scores(row).double().numpy()
        best = np.argsort(-z, axis=1)[:, :5]
        assert verdict.top5[i].tolist() == best.tolist()
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        assert verdict.mean_top5[i].tolist() == np.argsort(-p.mean(0))[:5].tolist()
        assert np.abs(verdict.mean[i].numpy() - p.mean(0)).max() < 1e-6
        for label in range(classes):
            margin = float(verdict.margin(torch.full((6,), label))[i])
            assert margin == pytest.approx(p.mean(0)[label] - np.delete(p.mean(0), label).max(), abs=1e-6)
        differ += verdict.mean_top5[i].tolist() != np.argsort(-z.mean(0))[:5].tolist()
    if classes == 10:
        assert differ > 0, "mean probability and mean logits agree on all images: this test tells them apart no more"


@pytest.mark.parametrize("classes", [1, 2, 3, 4])
def test_a_model_with_fewer_than_five_classes_is_padded(classes):
    verdict = judge(Keyed(classes), red(3), mirror(3), draws=4, stack=3)
    for found in (verdict.top5.view(-1, 5), verdict.mean_top5):
        assert all(sorted(row[:classes]) == list(range(classes)) for row in found.tolist())
        assert (found[:, classes:] == -1).all()


class Broken(nn.Module):
    """Its logits are `value` for red images, in every class."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.where(x[:, :1, 0, 0] > 0.5, self.value, torch.eye(10)[3])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_no_numbers_are_no_answer(value):
    """All the same, their first class was 0: right for images of class 0."""
    stored = torch.cat([red(2), red(2, value=0)])
    verdict = judge(Defended(plain(Broken(value)), Barrage(0, ())), stored, mirror(4), draws=2, stack=3)
    assert (verdict.top5[:2] == -1).all() and (verdict.mean_top5[:2] == -1).all()
    assert (verdict.top5[2:, :, 0] == 3).all() and (verdict.mean_top5[2:, 0] == 3).all()
    margins = verdict.margin(torch.full((4,), 3))
    assert margins[:2].isnan().all() and (margins[2:] > 0).all()


@pytest.mark.parametrize("classes", [3, 10, 1000])
def test_of_equal_logits_the_first_class_wins_as_for_attacks(classes):
    """Held to NumPy's stable sort, on logits of which most are equal, as those of quantised networks."""
    logits = torch.randint(0, 3, (40, classes), generator=torch.Generator().manual_seed(classes)).float()

    class Given(nn.Module):
        def forward(self, x):
            return logits[x[:, 0, 0, 0].mul(255).round().long() % 40]

    stored = torch.arange(40).view(40, 1, 1, 1).expand(40, 3, 2, 2).to(torch.uint8)
    verdict = judge(Defended(Classifier(Given(), (0.0,) * 3, (1.0,) * 3, (2, 2)), Barrage(0)), stored, mirror(40), 1, 64)
    want = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :5]
    found = verdict.top5[:, 0, : min(5, classes)].numpy()
    assert (found == want).all() and (verdict.mean_top5[:, : min(5, classes)].numpy() == want).all()
    assert (found[:, 0] == logits.argmax(1).numpy()).all()


def test_a_single_class_has_no_margin():
    assert judge(Keyed(1), red(2), mirror(2), draws=2, stack=2).margin(torch.zeros(2, dtype=torch.int64)).isnan().all()


@pytest.mark.parametrize("stack", [1, 2, 7, 10, 11, 1000])
def test_the_verdict_does_not_depend_on_the_stack(stack):
    whole, cut = Keyed(10), Keyed(10)
    truth = judge(whole, red(5), mirror(5), 10, 1000)
    found = judge(cut, red(5), mirror(5), 10, stack)
    assert torch.equal(found.top5, truth.top5) and torch.equal(found.mean_top5, truth.mean_top5)
    assert torch.equal(found.mean, truth.mean)
    assert sorted(cut.seen) == sorted(whole.seen) and max(cut.rows) <= stack


def test_a_defended_networks_verdict_does_not_depend_on_stack_or_batch():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 12))
    model[1].weight.data = torch.randn(model[1].weight.shape, generator=generator)
    names = ("color_precision", "grey_mix", "grey_partial_mix", "grey_two_thirds", "grey_one_channel")
    defended = Defended(Classifier(model, (0.5,) * 3, (0.2,) * 3, (SIDE, SIDE)), Barrage(2, names))
    stored = (photographs(SIDE, SIDE) * 255).round().byte()
    truth = judge(defended, stored, mirror(4), 6, 1000)
    assert truth.top5[:, :, 0].unique().numel() > 1
    for stack in (1, 4, 6, 7):
        found = judge(defended, stored, mirror(4), 6, stack)
        assert torch.equal(found.top5, truth.top5) and torch.equal(found.mean_top5, truth.mean_top5)
    for i in range(4):
        alone = judge(defended, stored[i : i + 1], Mirror.of(keys(4)[i : i + 1], "cpu"), 6, 4)
        assert torch.equal(alone.top5[0], truth.top5[i]) and torch.equal(alone.mean_top5[0], truth.mean_top5[i])


def test_evaluation_draws_are_none_of_the_attacks_draws():
    class Recorder(Defended):
        def logits(self, x, state, *rest, **options):
            seen.extend(state.host.tolist())
            return super().logits(x, state, *rest, **options)

    seen = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    recorder = Recorder(Classifier(model, (0.0,) * 3, (1.0,) * 3, (SIDE, SIDE)), Barrage(1, ("grey_mix",)))
    attack = Pgd(Ball("linf", 8 / 255), 12, 1 / 255, True, Eot(20))
    state = attack.start(photographs(SIDE, SIDE), Goal(torch.zeros(4, dtype=torch.int64), torch.full((4,), -1)), mirror(4))
    for _ in range(12):
        state = attack.step(state, recorder, 100)
    attacked, seen = set(seen), []
    assert len(attacked) == 4 * 12 * 20, "a draw of one step came again in another"
    judge(recorder, attack.ball.store(state.x, state.clean), state.keys, 50, 100)
    assert len(set(seen)) == len(seen) == 4 * 50
    assert not set(seen) & attacked
    assert sorted(seen) == sorted(evaluation_keys(keys(4), 50).flatten().tolist())


def test_the_image_is_judged_as_stored():
    """Use level v as v / 255: a threshold a tenth of a level below or above it decides."""
    for level in range(0, 256, 15):
        stored = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
        stored[:, 1] = level
        for offset, answer in ((-0.1, 1), (0.1, 0)):
            defended = Defended(plain(GreenAbove((level + offset) / 255)), Barrage(0))
            assert judge(defended, stored, mirror(1), 1, 1).top5[0, 0, 0] == answer


def test_the_verdict_is_in_the_models_own_precision():
    """Use an autocast that cannot separate neighbouring logits."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6))
    model[1].weight.data, model[1].bias.data = torch.full((6, 12), 0.1), 1e-5 * torch.tensor([3.0, 1, 5, 0, 4, 2])
    defended = Defended(Classifier(model, (0.0,) * 3, (1.0,) * 3, (2, 2), torch.bfloat16), Barrage(0))
    verdict = judge(defended, red(1), mirror(1), 2, 2)
    assert verdict.top5.tolist() == [[[2, 4, 0, 5, 1]] * 2] and verdict.mean_top5.tolist() == [[2, 4, 0, 5, 1]]
    fast = defended.classifier.fast(red(1).float() / 255)
    assert fast.unique().numel() < 6


def test_a_verdict_keeps_no_graph():
    verdict = judge(Defended(plain(GreenAbove(0.5)), Barrage(1, ("grey_mix",))), red(2), mirror(2), 2, 2)
    assert not verdict.top5.requires_grad and not verdict.mean_top5.requires_grad
