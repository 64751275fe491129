"""Which parts of draws save images: planted effects are found with their size, and nothing that only looks like one."""

import numpy as np
import pytest

from pipeline import analysis
from pipeline.analysis import errors
from pipeline.analysis.errors.draw_parts import Contrasts, Tally, lines, met
from pipeline.analysis.errors.reading import attacked
from pipeline.errors import BadInput
from pipeline.scoring.intervals import mean_difference
from tests.support.stores import given_columns

DRAWS, PARTS, SIMULATIONS = 20, 5, 250


def drawn(random, images, chances):
    """Draws of parts that are there with these chances, (images, parts): (images, DRAWS, parts) bool."""
    return random.random((images, DRAWS, chances.shape[1])) < chances[:, None]


def found(right, there, batches=1):
    contrasts = Contrasts(there.shape[2])
    for part in np.array_split(np.arange(len(right)), batches):
        contrasts.add(right[part], there[part])
    return contrasts


def simulated(seed, images=60, effect=0.3):
    """Images of very different ease. Part 0 saves, and is rare. Part 1 does nothing, and is drawn where images are easy."""
    random = np.random.default_rng(seed)
    ease = random.beta(0.7, 0.7, images) * (1 - effect)
    chances = np.column_stack([np.full(images, 0.15), 0.1 + 0.8 * ease / (1 - effect), *[np.full(images, 0.5)] * (PARTS - 2)])
    there = drawn(random, images, chances)
    right = random.random((images, DRAWS)) < ease[:, None] + effect * there[:, :, 0]
    return right, there


def test_a_planted_part_is_found_with_its_size_and_a_confounded_one_is_not():
    covered, looks = np.zeros(PARTS), []
    sizes = np.zeros((SIMULATIONS, PARTS))
    for seed in range(SIMULATIONS):
        contrasts = found(*simulated(seed))
        for part, truth in enumerate([0.3, 0, 0, 0, 0]):
            with_it, without, value, low, high = contrasts.line(part)
            covered[part] += low <= truth <= high
            sizes[seed, part] = value
            if part == 1:
                looks.append(with_it - without)
    assert (covered / SIMULATIONS >= 0.93).all(), covered / SIMULATIONS
    assert np.abs(sizes.mean(0) - [0.3, 0, 0, 0, 0]).max() < 0.01
    assert np.mean(looks) > 0.2, "draws pooled over images do not mislead here: the simulation tells nothing"


def test_every_batch_counts_once_and_alike():
    right, there = simulated(1)
    whole, cut = found(right, there), found(right, there, batches=7)
    for part in range(PARTS):
        assert whole.line(part) == pytest.approx(cut.line(part), abs=1e-12)


def test_the_lines_are_those_of_plain_loops():
    right, there = simulated(2, images=9)
    there[4, :, 2], there[5, :, 2] = True, False  # no difference within these images
    contrasts = found(right, there)
    for part in range(PARTS):
        pairs = [(right[i, d], there[i, d, part]) for i in range(9) for d in range(DRAWS)]
        within = []
        for i in range(9):
            have = [right[i, d] for d in range(DRAWS) if there[i, d, part]]
            lack = [right[i, d] for d in range(DRAWS) if not there[i, d, part]]
            within += [np.mean(have) - np.mean(lack)] if have and lack else []
        whole = mean_difference(within)
        shares = [np.mean([hit for hit, has in pairs if has == kind]) for kind in (True, False)]
        assert contrasts.line(part) == pytest.approx((*shares, whole.value, whole.low, whole.high), abs=1e-9)
        assert contrasts.draws[:, part].tolist() == [sum(has for _, has in pairs), sum(not has for _, has in pairs)]


def test_parts_that_are_in_all_draws_or_in_none_have_no_difference():
    right = np.ones((3, 4), bool)
    contrasts = found(right, np.stack([np.ones_like(right), np.zeros_like(right)], 2))
    assert contrasts.line(0)[0] == contrasts.line(1)[1] == 1
    assert np.isnan([contrasts.line(0)[1], contrasts.line(1)[0], *contrasts.line(0)[2:], *contrasts.line(1)[2:]]).all()


def test_a_part_planted_in_a_store_is_found_under_its_name(tmp_path):
    images = 300
    job = given_columns.planned(tmp_path, images, ks=(2, 0))
    cell, label = "resnet50-bart2-pgd", np.arange(images) % 7
    clean = given_columns.verdicts("clean", label, np.repeat(label[:, None], DRAWS, 1))
    blank = given_columns.verdicts("adv", label, np.full((images, DRAWS), 9))
    given_columns.commit(job, cell, label=label, **clean, **blank)
    (rows,) = attacked(job.store, ["shard", "image_key", "label", "adv_top5"], [cell])
    names, there = list(Tally(job, cell).names), met(job.cells[cell], rows)
    saver = names.index("swirl")
    right = np.random.default_rng(0).random((images, DRAWS)) < np.where(there[:, :, saver], 0.8, 0.2)
    said = np.where(right, label[:, None], 9)

    other = given_columns.planned(tmp_path / "planted", images, ks=(2, 0))
    given_columns.commit(other, cell, label=label, **clean, **given_columns.verdicts("adv", label, said))
    frame = errors.parts(other.store, cell)
    first, *rest = frame.to_dict("records")
    assert first["part"] == "swirl" and first["low"] < 0.6 < first["high"] and first["draws"] == there[:, :, saver].sum()
    assert first["right_with"] == right[there[:, :, saver]].mean() and len(frame) == 25
    assert all(one["high"] < 0.2 for one in rest) and frame["difference"].is_monotonic_decreasing
    both = analysis.by_transform(other.store).set_index("transform")
    assert both.loc["swirl", "adv_difference"] == first["difference"] and (both["clean_difference"].dropna() == 0).all()
    top5 = errors.parts(other.store, cell, top=5)
    assert top5.to_dict("records") == frame.to_dict("records"), "lists hold the label first or not at all"
    with pytest.raises(BadInput, match="cell 'nothing': expected one of resnet50-"):
        errors.parts(other.store, "nothing")


def test_a_defense_without_a_choice_has_no_parts(tmp_path):
    job = given_columns.planned(tmp_path, 2, ks=(0,))
    label, cell = np.array([1, 2]), "resnet50-none-pgd"
    said = given_columns.verdicts("clean", label, [[1], [2]]) | given_columns.verdicts("adv", label, [[3], [2]])
    given_columns.commit(job, cell, label=label, **said)
    assert errors.parts(job.store, cell).empty and lines(Tally(job, cell)).empty
