"""Unit sizes against what they promise: a quarter of an hour, and little waiting at the end whatever the cluster."""

from functools import partial

import pytest

from pipeline.config.campaign import parse
from pipeline.planning import cost, unit_sizes
from pipeline.planning.units import Cut, units
from tests.support import tiny


def campaign(k=(0, 5, 10), **changes):
    """1,600 draw-gradients an image behind a barrage, 40 without, at 224 px."""
    content = tiny.campaign(
        "x.tar",
        data={"shards": "x.tar"},
        defenses={f"k{n}": {"k": n} for n in k},
        attacks={"pgd": {"eps": "8/255", "steps": 40, "eot_draws": 40}},
        cells=[{"model": "net", "defense": [f"k{n}" for n in k], "attack": "pgd"}],
        unit_images=None,
        **changes,
    )
    return parse(content, "c")


def cut(images, rates, k=(0, 5, 10), **changes):
    """(the cells, their cuts, the seconds of each unit in the order of the plan) at draw-gradients a second by k."""
    found = campaign(k, **changes)
    cells = {cell.name: cell for cell in found.grid()}
    rate = {name: rates[cell.defense.k] for name, cell in cells.items()}
    cuts = unit_sizes.cuts(found, cells.values(), images, rate)
    every = list(units(cells.values(), images, cuts))
    each = {name: cost.seconds_an_image(cell, rate[name]) for name, cell in cells.items()}
    return cells, cuts, [unit.images * each[unit.cell] for unit in every], every


IMAGENET = {f"val-{i:03d}": 1000 for i in range(50)}
H100 = {0: 6000.0, 5: 3000.0, 10: 2000.0}


def test_seconds_an_image_by_hand():
    (cell,) = (cell for cell in campaign((5,), evaluation_draws=30).grid())
    assert cost.seconds_an_image(cell, 100) == pytest.approx((1600 + 60 / 3) / 100)


def test_units_take_a_quarter_of_an_hour_and_less_at_the_end():
    _, cuts, seconds, every = cut(IMAGENET, H100)
    assert sum(unit.images for unit in every) == 3 * 50_000
    total = sum(seconds)
    assert total > 15 * 3600
    costly = [s for s, unit in zip(seconds, every, strict=True) if unit.cell == "net-k10-pgd"]
    assert max(seconds) <= 905 and max(costly) > 200
    assert max(seconds[-200:]) < 75, "the last ones are small"
    assert max(seconds) <= max(unit_sizes.LEAST_SECONDS, total / unit_sizes.SHARE) * 1.1, "no unit is more than its share"
    assert cuts["net-k0-pgd"].images * 2 * 12 * 224**2 <= unit_sizes.MOST_BYTES, "a checkpoint would be too large"


def test_units_get_smaller_within_a_cell():
    _, cuts, seconds, _ = cut(IMAGENET, {10: 2000.0}, (10,))
    assert cuts["net-k10-pgd"].smaller and seconds[0] > 100 and max(seconds[-20:]) < 75


def test_a_year_of_a_gpu_is_cut_into_quarters_of_an_hour():
    images = {f"s{i:04d}": 1000 for i in range(1280)}
    _, cuts, seconds, _ = cut(images, {10: 70.0}, (10,))
    assert sum(seconds) > 0.9 * 365 * 86400
    assert cuts["net-k10-pgd"].images == round(900 / (1600 + 2 * 4 / 3) * 70)
    assert len(seconds) < 1.15 * sum(seconds) / 900, "the small ones at the end are few"


@pytest.mark.parametrize("workers", [1, 2, 8, 64, 200])
@pytest.mark.parametrize("images", [{"one": 5000}, IMAGENET], ids=["one shard", "fifty shards"])
def test_the_tail_is_short(workers, images):
    """Nobody waits longer than for one of the smallest units, on average, up to nearly SHARE workers."""
    _, _, seconds, _ = cut(images, H100)
    idle = unit_sizes.idle(seconds, workers)
    assert idle * sum(seconds) / workers / (1 - idle) < 50
    assert idle < 0.01 or idle < unit_sizes.idle([900] * round(sum(seconds) / 900), workers) / 2


def test_idle_by_hand():
    assert unit_sizes.idle([3, 1, 1, 1], 2) == 0 and unit_sizes.idle([1, 1, 1, 3], 2) == pytest.approx(1 - 6 / 8)
    assert unit_sizes.idle([], 4) == 0


def test_a_unit_is_never_less_than_an_image_nor_cut_across_shards():
    _, cuts, _, every = cut({"a": 3, "b": 1}, {10: 0.01}, (10,))
    assert [(u.shard, u.start, u.stop) for u in every] == [("a", 0, 1), ("b", 0, 1), ("a", 1, 2), ("a", 2, 3)]
    assert cuts["net-k10-pgd"].images == 1


def test_what_the_file_says_goes_and_what_was_not_measured_gets_the_default():
    found = campaign().model_copy(update={"unit_images": 7})
    assert unit_sizes.cuts(found, found.grid(), IMAGENET, {}) == {cell.name: Cut(7) for cell in found.grid()}
    found = campaign()
    cuts = unit_sizes.cuts(found, found.grid(), IMAGENET, {"net-k5-pgd": 1e3})
    assert cuts["net-k0-pgd"] == cuts["net-k10-pgd"] == Cut(unit_sizes.UNMEASURED) and cuts["net-k5-pgd"].images > 16


def test_with_a_stop_rule_units_lie_in_rounds():
    _, cuts, _, every = cut(IMAGENET, H100, stop={"interval": 0.02})
    assert {c.rounds for c in cuts.values()} == {20} and max(u.images for u in every) <= 50
    assert {u.start // 50 for u in every} == set(range(20)) and all((u.stop - 1) // 50 == u.start // 50 for u in every)


def test_the_same_cells_are_cut_the_same_whatever_is_added():
    """Cuts are kept by the store; a shard that comes later is cut plainly, the old ones stay as they were."""
    cells, cuts, _, before = cut(IMAGENET, H100)
    after = list(units(cells.values(), IMAGENET | {"val-050": 800}, cuts))
    assert set(before) <= set(after)
    new = [u for u in after if u.shard == "val-050" and u.cell == "net-k0-pgd"]
    assert sum(u.images for u in new) == 800 and new[0].images == min(800, cuts["net-k0-pgd"].images)


def test_a_cell_after_which_much_is_left_is_cut_as_unit_by_unit():
    """Where the work that is left never makes units smaller, no unit is looked at; the cut is the same."""
    images = {f"s{i}": 40 + i for i in range(7)}
    total = sum(images.values())
    for each in (0.1, 7.3, 200.0):
        for left in (total * each, 1.5 * total * each, 100.0 * total * each, 1e6 * total * each):
            found = unit_sizes._tapered(images, left, each, 50, unit_sizes.SHARE)
            lengths = {shard: list(found.lengths(shard, count)) for shard, count in images.items()}
            assert (found.images, lengths) == unit_by_unit(images, left, each)


def unit_by_unit(images, left, each):
    """The images of the first unit, and of all units of each shard: the shard that is least far along gives the next one."""
    length = partial(unit_sizes._length, each=each, most=50, share=unit_sizes.SHARE)
    largest, begun, lengths = length(left), dict.fromkeys(images, 0), {shard: [] for shard in images}
    while any(begun[shard] < count for shard, count in images.items()):
        open_ = [shard for shard, count in images.items() if begun[shard] < count]
        shard = min(open_, key=lambda name: begun[name] / images[name])
        one = min(length(left), images[shard] - begun[shard])
        lengths[shard].append(one)
        begun[shard] += one
        left -= one * each
    return largest, lengths
