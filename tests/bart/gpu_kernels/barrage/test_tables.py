"""Check, by following single images, where tables send them, and what plans have room for."""

import pytest
import torch

from bart import BART_25, Barrage
from tests.support.images import keys

pytest.importorskip("triton")

SIZE = (32, 32)
KEEPING = {"noise", "hsv", "xyz", "lab", "yuv", "contrast_stretch"}
"""The transforms whose derivative depends on the image, as far as this test says."""


def planned(barrage, n, graded=True, plainly=False):
    from bart.gpu_kernels.barrage.plan import planned

    return planned(barrage, torch.empty(n, 3, *SIZE, device="meta"), graded, plainly, barrage.select(keys(n)))


def tables(barrage, n, graded=True):
    """Return the plan of a stack and its tables, on the host."""
    from dataclasses import replace

    from bart.gpu_kernels.barrage.tables import Layout

    plan = replace(planned(barrage, n, graded), device=torch.device("cpu"))
    layout = Layout(plan)
    return plan, layout, layout.tables(barrage.select(keys(n)))


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize(("k", "fewest", "n"), [(10, None, 40), (10, 0, 40), (3, None, 1), (1, None, 300), (10, None, 300)])
def test_each_image_meets_its_transforms_and_no_place_is_overwritten_that_is_needed(k, fewest, n, graded):
    from bart.gpu_kernels.barrage.tables import versions

    barrage = Barrage(k, BART_25, fewest)
    plan, layout, made = tables(barrage, n, graded)
    names, selected = barrage.names, barrage.select(keys(n)).tolist()
    at = [(1 + graded) * n + row for row in range(n)]  # where images enter
    needed = [set() for _ in range(n)]
    for number in range(k):
        met = {}
        for crew in range(plan.crews):
            for unit, span in layout.forward.spans(crew, number):
                for row, source, target, kind in made.forward[number, span].tolist():
                    if row < 0:
                        continue
                    assert row not in met and row * plan.crews // n in (crew, crew - 1, crew + 1) and source == at[row]
                    name = names[selected[row][number]]
                    assert name in plan.forward.members[unit] and (unit != "pointwise" or kind == plan.kind(name, False))
                    if graded and name in KEEPING:
                        needed[row].add(source)
                    assert target != source and target not in needed[row] and target % n == row and target < versions(plan) * n
                    met[row] = target
        assert set(met) == {row for row in range(n) if selected[row][number] < len(names)}
        for row, target in met.items():
            at[row] = target
    assert made.leave[:, :2].tolist() == [[row, at[row]] for row in range(n)]
    assert not graded or all(place >= 2 * n for row in range(n) for place in needed[row]), "gradients would be written there"


def test_a_gradient_meets_the_transforms_in_the_slots_of_the_forward_pass():
    barrage, n = Barrage(10), 40
    _, layout, made = tables(barrage, n)
    for number in range(10):
        there = dict(layout.forward.spans(0, number))
        for unit, span in layout.backward.spans(0, number):
            if unit != "pointwise":
                lines, wanted = made.backward[number, span], made.forward[number, there[unit]]
                has = wanted[:, 0] >= 0
                assert torch.equal(lines[:, 0], wanted[:, 0]) and torch.equal(lines[has, 1], wanted[has, 1])
        rows = torch.cat([made.backward[number, span][:, 0] for _, span in layout.backward.spans(0, number)])
        assert sorted(rows[rows >= 0].tolist()) == list(range(n))


def test_a_plan_has_room_for_nearly_all_draws_and_another_for_the_rest():
    barrage = Barrage(10)
    usual = planned(barrage, 512)
    for seed in range(50):
        assert usual.holds(usual.counted(barrage.select(keys(512, seed))))
    alike = barrage.select(keys(1)).expand(512, -1)  # all images meet the same: as with a fixed order
    assert not usual.holds(usual.counted(alike))
    from bart.gpu_kernels.barrage.plan import planned as any_plan

    more = any_plan(barrage, torch.empty(512, 3, *SIZE, device="meta"), True, False, alike)
    assert more.holds(more.counted(alike)) and more.spread > usual.spread
    assert max(max(slots) for rounds in usual.slots(usual.forward) for slots in rounds) < 128, "no better than a slot an image"
