import random
from collections import Counter
from dataclasses import dataclass
from itertools import permutations

import pytest

from pipeline.config.campaign import parse
from pipeline.data.order import order, places
from pipeline.planning.units import Cut, Unit, of_name, planned_images, units
from tests.support import tiny


@dataclass
class Shard:
    name: str
    images: int


def planned(cut, limit=None, sizes=(5, 3)):
    cells = list(parse(tiny.campaign("x.tar"), "c").grid())
    images = planned_images([Shard(f"s{i}", n) for i, n in enumerate(sizes)], limit)
    return cells, list(units(cells, images, {cell.name: cut for cell in cells}))


CUTS = [*map(Cut, (1, 2, 3, 5, 100)), Cut(2, 3), Cut(1, 20), Cut(100, 4)]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("limit", [None, 1, 5, 6, 8, 99])
def test_every_image_of_every_cell_is_in_exactly_one_unit(cut, limit):
    cells, found = planned(cut, limit)
    images = [("s0", i) for i in range(5)] + [("s1", i) for i in range(3)]
    for cell in cells:
        mine = [(u.shard, i) for u in found if u.cell == cell.name for i in range(u.start, u.stop)]
        assert sorted(mine) == images[:limit]
    assert len({unit.name for unit in found}) == len(found)
    assert all(0 < unit.images <= cut.images for unit in found)


def one_by_one(images, cut):
    """(shard, start, stop) of the units of a cell from the definition: sorted by round, share of the shard, and shard."""
    entries = []
    for position, (shard, count) in enumerate(images.items()):
        start = 0
        for length in cut.lengths(shard, count):
            number = ((start + 1) * cut.rounds - 1) // count
            entries.append((number, start / count, position, (shard, start, start + length)))
            start += length
    return [unit for *_, unit in sorted(entries)]


def test_the_order_of_the_work_is_that_of_sorting_units_one_by_one():
    chance = random.Random(1)
    for _ in range(60):
        sizes = [chance.randint(1, 300) for _ in range(chance.randint(1, 12))]
        images = {f"s{i}": n for i, n in enumerate(sizes)}
        rounds, smaller = chance.choice([1, 1, 2, 5, 20]), {}
        for shard, count in images.items() if rounds == 1 else ():
            if chance.random() < 0.4:
                length = chance.randint(1, count)
                smaller[shard] = ((length, count // length), *(((count % length, 1),) if count % length else ()))
        cut = Cut(chance.randint(1, 40), rounds, smaller)
        cells, found = planned(cut, sizes=sizes)
        for cell in cells:
            mine = [(unit.shard, unit.start, unit.stop) for unit in found if unit.cell == cell.name]
            assert mine == one_by_one(images, cut)
            assert all(type(end) is int for unit in mine for end in unit[1:])
        spans = cut.spans(images)
        assert spans.images == sum(sizes) and len(spans.start) == len(one_by_one(images, cut))
        until = [unit for unit in found if unit.cell == cells[0].name and cut.round_of(unit, images[unit.shard]) <= rounds // 2]
        assert spans.until(rounds // 2).images == sum(unit.images for unit in until)


def test_costly_cells_come_first():
    _, found = planned(Cut(2))
    assert [unit.cell for unit in found] == ["net-bart2-pgd"] * 5 + ["net-none-pgd"] * 5


def test_runs_of_smaller_units_are_cut_as_they_say_and_other_shards_as_usual():
    _, found = planned(Cut(4, smaller={"s0": ((2, 2), (1, 1))}))
    mine = [(u.shard, u.start, u.stop) for u in found if u.cell == "net-none-pgd"]
    assert sorted(mine) == [("s0", 0, 2), ("s0", 2, 4), ("s0", 4, 5), ("s1", 0, 3)]


def test_after_every_round_each_shard_has_given_the_same_share():
    sizes, rounds = (50, 20, 83), 10
    _, found = planned(Cut(4, rounds), sizes=sizes)
    cut, seen, before = Cut(4, rounds), Counter(), 0
    for unit in (u for u in found if u.cell == "net-none-pgd"):
        number = cut.round_of(unit, sizes[int(unit.shard[1:])])
        assert number in (before, before + 1), "rounds come one after the other"
        if number > before:
            assert all(abs(seen[f"s{i}"] - n * number / rounds) < 1 for i, n in enumerate(sizes)), (number, seen)
        seen[unit.shard], before = unit.stop, number
    assert before == rounds - 1


def test_without_rounds_too_the_shards_advance_together():
    _, found = planned(Cut(2), sizes=(40, 20))
    seen = Counter()
    for unit in (u for u in found if u.cell == "net-none-pgd"):
        assert abs(seen["s0"] / 40 - seen["s1"] / 20) <= 2 / 20 + 1e-9
        seen[unit.shard] = unit.stop


def test_the_order_of_a_shard_holds_every_image_once_and_follows_from_seed_and_name():
    assert sorted(order(0, "a", 100)) == list(range(100))
    assert order(0, "a", 100) == order(0, "a", 100) != order(1, "a", 100) != order(0, "b", 100)
    parts = [places(0, "a", 100, start, start + 30) for start in range(0, 100, 30)]
    assert sorted(place for part in parts for place in part) == list(range(100)) and all(part == sorted(part) for part in parts)


def test_the_first_images_of_the_order_are_a_fair_sample_of_a_sorted_shard():
    """Ten classes in a row: the first tenth of the order holds them as chance would (chi-squared of 9, p > 0.001), over
    shards too."""
    seen = Counter(place // 100 for shard in range(50) for place in places(7, f"s{shard}", 1000, 0, 100))
    assert sum((seen[label] - 500) ** 2 / 500 for label in range(10)) < 27.9


@pytest.mark.parametrize("cells", list(permutations(["a-b-c", "a-b-c--d", "a-b-c--", "a-b"])))
def test_a_unit_is_known_by_its_name(cells):
    """Also where the name of a cell, or of a shard, begins with that of another."""
    shards = ("s", "s--t", "d--u", "-s")
    for unit in (Unit(cell, shard, 0, 12) for cell in cells for shard in shards):
        clash = [(c, s) for c in cells for s in shards if f"{c}--{s}" == f"{unit.cell}--{unit.shard}"]
        assert len(clash) > 1 or of_name(unit.name, cells, shards) == unit
    for name in ("other--s--000000-000001", "a-b-c--v--000000-000001", "a-b-c--s--0-1", "a-b-c--s", ""):
        assert of_name(name, cells, shards) is None
