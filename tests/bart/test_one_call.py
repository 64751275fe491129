from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from torch import nn

import bart
from bart.one_call import RULES, accuracy
from pipeline.config.attacks import Standard
from pipeline.scoring import decided
from pipeline.scoring.intervals import rate
from pipeline.scoring.rules import RULES as OF_ROWS
from tests.support import tiny
from tests.support.linear_models import linear

IMAGES = torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.tensor([1, 0, 3, 2, 4])
QUICK = bart.Pgd(bart.Ball("linf", 8 / 255), 2, 4 / 255, eot=bart.Eot(2))


def verdicts(images=400, draws=5, classes=7):
    """Return random verdicts with many ties, and labels."""
    generator = torch.Generator().manual_seed(3)
    label = torch.randint(classes, (images,), generator=generator)
    scores = torch.rand(images, draws, classes, generator=generator) + 0.4 * nn.functional.one_hot(label, classes)[:, None]
    return bart.Verdict(scores.topk(5).indices, scores.mean(1).topk(5).indices, scores.softmax(2).mean(1)), label


@pytest.mark.parametrize("rule", list(RULES))
def test_rules_are_those_of_campaigns(rule):
    verdict, label = verdicts()
    top5, first = verdict.top5, verdict.top5[:, :, 0]
    lists = pa.array(top5.tolist(), pa.list_(pa.list_(pa.int32(), 5)))
    rows = pa.table(
        {
            "status": ["ok"] * len(label),
            "label": pa.array(label.tolist(), pa.int32()),
            "evaluation_draws": pa.array([top5.shape[1]] * len(label), pa.int32()),
            "adv_top5": lists,
            "adv_mean_top5": pa.array(verdict.mean_top5.tolist(), pa.list_(pa.int32(), 5)),
            "adv_correct": pa.array((first == label[:, None]).sum(1).tolist(), pa.int32()),
            "adv_top5_correct": pa.array((top5 == label[:, None, None]).any(2).sum(1).tolist(), pa.int32()),
        }
    )
    rows = rows.append_column("adv_right", decided.column(rows, "adv_right"))
    want = OF_ROWS[rule].score(rows, "adv", 1)
    assert 0 < want.mean() < 1
    np.testing.assert_allclose(RULES[rule](verdict, label).numpy(), want)


def test_every_rule_of_campaigns_is_there():
    assert list(RULES) == list(OF_ROWS.builtin)


@pytest.mark.parametrize("right", [0, 1, 17, 40])
def test_the_interval_is_wilsons(right):
    found = accuracy(torch.tensor([1.0] * right + [0.0] * (40 - right)))
    want = stats.binomtest(right, 40).proportion_ci(0.95, "wilson")
    assert found == pytest.approx((right / 40, want.low, want.high), abs=1e-9)


def test_the_interval_of_shares_holds_that_of_the_table():
    shares = np.random.default_rng(0).beta(8, 3, 60)
    found, table = accuracy(torch.tensor(shares)), rate(shares)
    assert found.value == pytest.approx(table.value) and found.low <= table.low and table.high <= found.high


def test_it_does_what_the_parts_do_one_by_one():
    net = tiny.network()
    judged = bart.attack(net, IMAGES, LABELS, defense=bart.Barrage(3), attack=QUICK, draws=4, seed=9)
    defended = bart.Defended(
        bart.Classifier(net, (0.0,) * 3, (1.0,) * 3, (32, 32), bart.native_half(IMAGES.device)), bart.Barrage(3)
    )
    keys = bart.Mirror.of(torch.tensor([bart.key(9, i) for i in range(5)]), "cpu")
    state = QUICK.start(IMAGES.float() / 255, bart.Goal(LABELS, torch.full_like(LABELS, -1)), keys)
    for _ in range(2):
        state = QUICK.step(state, defended, 64)
    stored = QUICK.ball.store(state.x, state.clean)
    assert torch.equal(judged.examples, stored)
    assert torch.equal(judged.adversarial.top5, bart.judge(defended, stored, keys, 4, 64).top5)
    assert torch.equal(judged.clean.top5, bart.judge(defended, IMAGES, keys, 4, 64).top5)


def test_an_undefended_linear_model_falls():
    model, _ = linear()
    x = torch.randint(0, 256, (40, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    label = model(x.float() / 255).argmax(1)
    before, after = bart.attack(model, x, label, attack=bart.Pgd(bart.Ball("linf", 0.2), 10, 0.1, eot=bart.Eot(1))).accuracies()
    assert before.value == 1 and after.value == 0


@pytest.mark.parametrize("k", [0, 2])
def test_without_an_attack_it_is_the_standard_one_of_campaigns(k):
    settings = Standard(eps=8 / 255)
    defense = bart.Barrage(k) if k else None
    once = partial(bart.attack, tiny.network(), IMAGES[:2], LABELS[:2], defense=defense, draws=2)
    assert torch.equal(once().examples, once(attack=settings.build(bool(k))).examples)


def test_it_prints_itself():
    lines = repr(bart.attack(tiny.network(), IMAGES, LABELS, defense=bart.Barrage(1), attack=QUICK, draws=4)).splitlines()
    assert lines[0] == "5 images, 4 fresh draws each, Pgd in linf 0.03137: 4 draw-gradients and 0 more draws an image"
    assert [line.split()[0] for line in lines[2:]] == ["rule", *RULES]
    undefended = repr(bart.attack(tiny.network(), IMAGES, LABELS, attack=QUICK)).splitlines()
    assert undefended[0].startswith("5 images, one draw each") and len(undefended) == 4, "where nothing is random, rules agree"


def test_floats_are_rounded_to_8_bits_and_grey_images_are_taken():
    float_images = IMAGES.float() / 255 + 0.3 / 255 * (IMAGES < 255)
    assert torch.equal(bart.attack(tiny.network(), float_images, LABELS, attack=QUICK).images, IMAGES)
    grey = nn.Sequential(nn.Flatten(), nn.Linear(1024, 5))
    judged = bart.attack(grey, IMAGES[:, :1], LABELS, defense=bart.Barrage(1, bart.GREY), attack=QUICK, draws=2)
    assert judged.examples.shape == (5, 1, 32, 32)


WRONG = {
    "images.*: expected values in .0, 1.": (IMAGES.float(), LABELS),
    "images of torch.int64: expected uint8, or float": (IMAGES.long(), LABELS),
    r"images \(3, 32, 32\): expected \(n, 3, h, w\)": (IMAGES[0], LABELS),
    r"images \(5, 32, 32, 3\): expected \(n, 3, h, w\)": (IMAGES.permute(0, 2, 3, 1), LABELS),
    "labels .*: expected one whole number for each of 5 images": (IMAGES, LABELS[:4]),
    "labels torch.float32.*: expected one whole number": (IMAGES, LABELS.float()),
    "labels torch.int64 .*: expected": (IMAGES, -LABELS),
    "images from nan to nan": (IMAGES.float() * torch.nan, LABELS),
}


@pytest.mark.parametrize("said", list(WRONG))
def test_wrong_images_and_labels_are_refused(said):
    with pytest.raises(ValueError, match=said):
        bart.attack(tiny.network(), *WRONG[said])
