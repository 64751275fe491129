from dataclasses import dataclass

import pytest

from pipeline.campaign import parse
from pipeline.plan import units
from tests.pipeline import tiny


@dataclass
class Shard:
    name: str
    images: int


def planned(unit_images, limit=None, sizes=(5, 3)):
    cells = list(parse(tiny.campaign("x.tar"), "c").grid())
    return cells, list(units(cells, [Shard(f"s{i}", n) for i, n in enumerate(sizes)], unit_images, limit))


@pytest.mark.parametrize("unit_images", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("limit", [None, 1, 5, 6, 8, 99])
def test_every_image_of_every_cell_is_in_exactly_one_unit(unit_images, limit):
    cells, found = planned(unit_images, limit)
    images = [("s0", i) for i in range(5)] + [("s1", i) for i in range(3)]
    for cell in cells:
        mine = [(u.shard, i) for u in found if u.cell == cell.name for i in range(u.start, u.stop)]
        assert sorted(mine) == images[:limit]
    assert len({unit.name for unit in found}) == len(found)
    assert all(0 < unit.images <= unit_images for unit in found)


def test_costly_cells_come_first():
    _, found = planned(2)
    assert [unit.cell for unit in found] == ["net-bart2-pgd"] * 5 + ["net-none-pgd"] * 5
