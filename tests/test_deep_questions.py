"""The measures of benchmarks/deep and of benchmarks.reproducibility, on samples whose answer is known."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from scipy.stats import norm

from benchmarks import reproducibility
from benchmarks.deep import attack_seeds, peeking, shared_seed
from benchmarks.deep.sign_of_mean import signs
from benchmarks.intervals import alike
from tests.support.source.imports import ROOT


def normal(count, values, mean):
    return mean + torch.randn(count, values, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [1, 4, 25])
def test_signs_of_normal_draws_agree_as_the_closed_form_tells(n):
    """Of draws N(0.2, 1) the mean of n has the sign of 0.2 with a chance of Phi(0.2 sqrt(n)); a step gains 2 Phi - 1."""
    found, chance = signs(normal(10_000, 50, 0.2), n), norm.cdf(0.2 * n**0.5)
    assert found.agree == pytest.approx(chance, abs=0.01) and found.normal == pytest.approx(chance, abs=0.01)
    assert found.gain == pytest.approx(2 * chance - 1, abs=0.02)
    assert found.turned == 0 and found.limit == pytest.approx(1, abs=0.01)


def test_skewed_draws_turn_the_sign_of_few_and_not_of_many():
    """A value that is 9 once in ten draws and -0.8 else has the mean 0.18, and most of its signs are negative."""
    rare = torch.rand(10_000, 20, generator=torch.Generator().manual_seed(1)) < 0.1
    draws = torch.where(rare, 9.0, -0.8)
    one, many = signs(draws, 1), signs(draws, 400)
    assert one.turned == 1 and one.limit == pytest.approx(-1, abs=0.01) and one.gain < 0
    assert many.turned == 0 and many.limit == pytest.approx(1, abs=0.01)


def test_the_spread_over_seeds_is_split_into_its_parts():
    """200 images of chances that each seed moves by 0.1, ten draws each: variances by hand."""
    random = default_rng(0)
    chances = random.uniform(0.3, 0.7, (200, 1)) + 0.1 * random.choice([-1, 1], (200, 400))
    found = random.binomial(attack_seeds.JUDGES, chances) / attack_seeds.JUDGES
    seeds, judging, images = attack_seeds.spreads(found)
    assert judging == pytest.approx((chances * (1 - chances)).mean() / attack_seeds.JUDGES / 200, rel=0.02)
    assert seeds - judging == pytest.approx(0.1**2 / 200, rel=0.4)
    assert images == pytest.approx(found.var(ddof=1) / 200, rel=0.05)
    mean, error = attack_seeds.correlation(found)
    assert abs(mean) < 4 * error
    assert 0.93 < attack_seeds.coverage(found, 50, 500, True) <= 1


def test_luck_that_all_images_share_is_seen_in_both_measures():
    """Every second draw is lucky for all: the correlation of any two images is 0.16 by hand."""
    random = default_rng(1)
    lucky = np.arange(2000) % 2
    apart, shared = (random.random((30, 2000)) < p for p in (0.5, 0.3 + 0.4 * lucky))
    for right, expected in ((apart, 0.0), (shared, 0.16)):
        text = shared_seed.summary(right.astype(float))
        assert float(text.split("correlation")[1].split()[0]) == pytest.approx(expected, abs=0.01)
        assert float(text.split()[1]) == pytest.approx(1 + 29 * expected, rel=0.15)


def test_a_cell_that_never_is_narrow_enough_ends_with_all_its_images():
    found = peeking.stopped(default_rng(0), alike, 0.5, (0.0001, 20, 400), 5)
    assert (found[:, 3] == 400).all() and (peeking.stopped(default_rng(0), alike, 0.5, (0.9, 20, 400), 5)[:, 3] == 20).all()


def row(draws, **values):
    """Return what is compared of a row whose draws have these first classes; 1 is right."""
    tops, right = [[d, 7, 8, 9, 6] for d in draws], draws.count(1)
    sides = {f"{side}_{name}": value for side in ("clean", "adv") for name, value in (("top5", tops), ("correct", right))}
    return sides | {"cell": "c", "evaluation_draws": len(draws), "l2": 2.0, "clean_margin": 0.5, "gradient_norm": 4.0} | values


def test_what_differs_between_two_runs_is_counted():
    places = [("c", "a"), ("c", "b"), ("d", "a")]
    before = {"a": row([1, 1, 1], image_key="a"), "b": row([1, 2, 1], image_key="b")}
    first = reproducibility.Stored({"c": before}, dict(zip(places, [b"1", b"2", b"3"], strict=False)))
    rows = {"a": row([1, 1, 1], image_key="a", l2=2.02), "b": row([2, 2, 1], image_key="b", gradient_norm=3.0)}
    other = reproducibility.Stored({"c": rows}, dict(zip(places, [b"0", b"2", b"0"], strict=False)))
    text = reproducibility.line(first, other, "c")
    assert "rows  2 of 2" in text and "examples  1, L2 1 %" in text and "norm 25 %" in text
    assert text.count("1 of 6 draws,  1 images") == 2 and "-16.7" in text
    same = reproducibility.line(first, first, "c")
    assert "rows  0 of 2" in same and "examples  0" in same and same.count("0 of 6 draws,  0 images") == 2 and "+0.0" in same


def test_a_store_without_examples_is_compared_by_distances_on_the_images_that_both_have():
    stored = reproducibility.Stored({"c": {key: row([1, 1], image_key=key) for key in "abz"}, "other": {}}, {})
    rows = {key: row([1, 1], image_key=key, l2=length) for key, length in (("a", 2.0), ("b", 2.5))}
    first, both = reproducibility.compared(stored, reproducibility.Stored({"c": rows}, {("c", "a"): b"1", ("c", "b"): b"2"}))
    assert "rows  1 of 2" in first and "examples  1, L2 25 %" in first
    assert both.split()[0] == "all" and both.split()[1:] == first.split()[1:]


def test_a_part_of_a_stored_campaign_has_the_cells_that_fit():
    store = ROOT / "docs/results/figure4-small"
    content = reproducibility.part_of(store, 7, "bart-k[05]-fgsm-*")
    cells = [tuple(cell.values()) for cell in content["cells"]]
    assert cells == [("bart", k, f"fgsm-{goal}") for k in ("k0", "k5") for goal in ("random", "least")]
    assert content["data"]["limit"] == 7
    with pytest.raises(SystemExit, match="no cell of .* fits 'nothing'.*bart-k0-pgd-random"):
        reproducibility.part_of(store, 7, "nothing")
