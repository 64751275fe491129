import json
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.scoring import rules, summaries, votes
from pipeline.scoring.intervals import rate, wilson
from pipeline.store import schema


def row(key, clean, adv, label=1, cell="c", attack="a", target=None, mean=None, **more):
    """Return a row from the first classes of its draws; the other four of each five are classes 90 to 93."""
    fives = {side: [[first, 90, 91, 92, 93] for first in draws] for side, draws in (("clean", clean), ("adv", adv))}
    out = {
        "image_key": key, "cell": cell, "model": "m", "defense": "d", "attack": attack, "k": 5, "label": label,
        "target": target, "status": "ok", "evaluation_draws": len(clean), "grad_evals": 10, "forward_evals": 4, "seconds": 1.5,
        "clean_mean_top5": [1, 2, 3, 4, 5], "adv_mean_top5": mean or [2, 1, 3, 4, 5],
    }  # fmt: skip
    for side, five in fives.items():
        out |= {
            f"{side}_top5": five,
            f"{side}_correct": sum(draw[0] == label for draw in five),
            f"{side}_top5_correct": sum(label in draw for draw in five),
        }
    if target is not None:
        out["target_hits"] = sum(draw[0] == target for draw in fives["adv"])
    return out | more


def table(found):
    return schema.decide(pa.Table.from_pylist(found, schema=schema.SCHEMA))


def line(found, rule="single"):
    (only,) = summaries.lines([table(found)], [rule])
    return only


FOUND = [row("x", [1, 1, 1, 2], [1, 2, 2, 3]), row("y", [1, 1, 1, 1], [1, 1, 2, 1])]


@pytest.mark.parametrize(
    ("rule", "clean", "adv"), [("single", 7 / 8, 4 / 8), ("vote", 1, 1 / 2), ("mean", 1, 0), ("persistent", 1 / 2, 0)]
)
def test_rules_by_hand(rule, clean, adv):
    found = line(FOUND, rule)
    assert (found.clean_top1.value, found.adv_top1.value) == (clean, adv)


def test_vote_for_five_is_top5_where_there_is_one_draw():
    found = [row("x", [2], [3], label=93), row("y", [2], [3], label=94)]
    assert [line(found, rule).adv_top5.value for rule in ("single", "vote", "persistent")] == [0.5] * 3


def test_a_model_that_errs_at_random_is_as_accurate_as_it_is():
    """A model that ignores its input and errs with p = 0.2 is right on 80 % of draws (AutoAttack `rand` reports 53.5 %)."""
    draws = random.Random(0)
    found = [row(str(i), *([1 if draws.random() > 0.2 else 2 for _ in range(20)] for _ in "ab")) for i in range(1000)]
    single, persistent = line(found), line(found, "persistent")
    assert abs(single.adv_top1.value - 0.8) < 0.01 and single.adv_top1.low < 0.8 < single.adv_top1.high
    assert abs(persistent.adv_top1.value - 0.8**20) < 0.01


def test_failed_images_leave_every_denominator_and_are_counted():
    bad = {"image_key": "z", "cell": "c", "model": "m", "defense": "d", "attack": "a", "k": 5, "status": "bad_image",
           "evaluation_draws": 4, "grad_evals": 0, "seconds": 0.0}  # fmt: skip
    found = line([*FOUND, bad])
    assert (found.images, found.failed, found.clean_top1.value) == (2, 1, 7 / 8)
    assert line([bad]).clean_top1 is None


def test_what_a_line_is_about_is_said_where_it_occurs():
    bad = FOUND[0] | {"image_key": "z", "status": "bad_image"}
    skipped = [row(f"s{i}", [2, 2], [2, 2], first_break=0) for i in range(3)]

    def text(found, planned=None):
        (only,) = summaries.lines(table(found), ["single"], planned and {"c": summaries.Scope(planned)})
        return summaries.cells(only)[2], [note.partition(":")[0] for note in summaries.notes([only])]

    assert text(FOUND) == text(FOUND, 2) == ("2", [])
    assert text(FOUND, 9) == ("2 of 9, so far", ["n of N"])
    assert text([*FOUND, bad], 3) == ("2 + 1 failed", ["failed"])
    assert text([*FOUND, bad, *skipped], 7) == ("5 of 7, so far + 1 failed, 3 skipped", ["n of N", "failed", "skipped"])
    broken = row("b", [1, 1], [2, 2], first_break=1)
    assert text([*FOUND, broken], 3) == ("3", []), "an attack that won at its first step was one"
    assert line([*FOUND, *skipped]).adv_top1.value == pytest.approx(1 / 5)
    markdown = summaries.markdown(summaries.lines(table([*FOUND, *skipped]), ["single"], {"c": summaries.Scope(7)}))
    assert "| 5 of 7, so far, 3 skipped |" in markdown and "an upper bound for other rules" in markdown


def test_targets_costs_and_order():
    found = [row("x", [1], [7], target=7), row("y", [1], [1], target=7)]
    assert line(found).target_hits.value == 0.5 and line(FOUND).target_hits is None
    assert (line(found).draw_gradients, line(found).seconds) == (20, 3.0)
    both = table([row("x", [1], [1], cell="k10", k=10), row("x", [1], [1], cell="k5", k=5)])
    assert [found.cell for found in summaries.lines([both])] == ["k5", "k10"]


def test_rows_that_come_in_pieces_make_the_same_table():
    whole = table([row(f"{i}", [1, i % 3, 2], [1, i % 2, i % 5], cell=f"c{i % 2}") for i in range(20)])
    pieces = [whole.slice(start, 3) for start in range(0, 20, 3)]
    for some, all_ in zip(summaries.lines(pieces, rules.RULES), summaries.lines([whole], rules.RULES), strict=True):
        assert summaries.as_dict(some) == pytest.approx(summaries.as_dict(all_), abs=1e-12)


def told(row, top):
    """Return the result of the vote, computed vote by vote from its definition."""
    votes = Counter()
    for draw in row["adv_top5"]:
        for rank, label in enumerate(draw[:top]):
            votes[label] += 1000 - rank
    return float(row["label"] in [label for label, _ in votes.most_common(top)])


@pytest.mark.parametrize("top", [1, 5])
def test_the_vote_is_the_one_defined_also_where_it_is_close(top):
    draws, found = random.Random(top), []
    for i in range(600):
        fives = [draws.sample(range(8), 5) for _ in range(draws.choice([1, 2, 4, 7]))]
        more = {"adv_top5": fives, "adv_correct": sum(five[0] == 3 for five in fives)}
        more |= {"adv_top5_correct": sum(3 in five for five in fives)}
        found.append(row(str(i), [1] * len(fives), [1] * len(fives), label=3) | more)
    assert rules.vote(table(found), "adv", top).tolist() == [told(row, top) for row in found]


def test_votes_are_counted_row_by_row_wherever_their_lists_lie():
    """Use few classes, so that there are many ties; -1 fills the lists of models with fewer than five classes."""
    draws = random.Random(2)
    fives = [draws.choice([draws.sample(range(6), 5), [*draws.sample(range(3), 3), -1, -1]]) for _ in range(400)]
    first = [draws.randrange(390) for _ in range(300)]
    counts, label = [draws.randint(1, 10) for _ in first], [draws.randrange(7) for _ in first]
    for top in (1, 2, 5):
        told_ = [
            told({"adv_top5": fives[at : at + count], "label": of}, top)
            for at, count, of in zip(first, counts, label, strict=True)
        ]
        found = votes.elected(np.array(fives, np.int32), np.array(first), np.array(counts), np.array(label), top)
        assert found.tolist() == told_ and 0 < sum(told_) < len(told_)


@pytest.mark.parametrize("rule", rules.RULES)
def test_a_part_of_a_table_is_judged_as_it_is_alone(rule):
    """Slices share the lists of the whole table, with an offset; failed rows have no lists."""
    draws = random.Random(3)
    found = [row(str(i), [1, draws.randrange(3), 2], draws.choices(range(4), k=3)) for i in range(30)]
    for i in (0, 7, 8):
        found[i] = {"image_key": str(i), "cell": "c", "model": "m", "attack": "a", "k": 5, "status": "bad_image"}
    whole = table(found)
    for start, count in ((0, 30), (5, 9), (20, 10)):
        parts = [whole.slice(start, count), table(found[start : start + count])]
        (some,), (alone,) = (summaries.lines(part, [rule]) for part in parts)
        assert summaries.as_dict(some) == summaries.as_dict(alone) and some.images == sum(
            "label" in f for f in found[start : start + count]
        )


def test_wilson_against_published_values():
    """Newcombe, Statistics in Medicine 1998, table I: 81/263, 15/148, 0/20, 1/29."""
    for k, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)):
        assert wilson(k / n, n) == pytest.approx((low, high), abs=5e-5)


def test_intervals_count_images_not_draws():
    agree, differ = rate([0.0, 1.0] * 50), rate([0.5] * 50 + [0.4, 0.6] * 25)
    assert (agree.low, agree.high) == pytest.approx(wilson(0.5, 100), abs=0.01), "draws that agree add nothing"
    assert differ.high - differ.low < 0.5 * (agree.high - agree.low), "draws that differ say more of the mean"
    assert rate([0.0] * 20).high == pytest.approx(0.1611, abs=5e-5) and rate([]) is None


def test_interval_covers_the_truth_19_times_in_20():
    draws, hits = random.Random(1), 0
    for _ in range(400):
        chances = [draws.betavariate(2, 1) for _ in range(40)]  # mean 2/3, images of different difficulty
        found = rate([sum(draws.random() < p for _ in range(10)) / 10 for p in chances])
        hits += found.low <= 2 / 3 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_formats_say_the_same():
    (only,) = json.loads(summaries.to_json(summaries.lines([table(FOUND)])))
    assert (only["adv_top1"], only["images"], only["target_hits"]) == (0.5, 2, None)
    assert "| c | single | 2 | 87.5 [" in summaries.markdown(summaries.lines([table(FOUND)]))


def test_every_column_is_documented_and_unknown_ones_are_refused():
    assert all(field.metadata[b"description"] for field in schema.SCHEMA)
    with pytest.raises(AssertionError, match="lacks"):
        schema.encode([{"image_key": "x", "surprise": 1}], {})
