"""The cost model against measurements that are committed, and its users against each other."""

import re
from pathlib import Path

import pytest
import torch

from pipeline.config.campaign import parse
from pipeline.costs import cell_cost
from pipeline.planning import cost, time_left
from pipeline.planning.units import costliest_first
from pipeline.scoring.rules import attacked
from pipeline.store.planned_cells import Planned
from pipeline.store.rows import results
from tests.support import tiny

ROOT = Path(__file__).parents[3]
TOLERANCE = 1.75
"""The largest factor between a measured cost and the model's."""


def cells(**changes):
    content = tiny.campaign("x.tar", evaluation_draws=6) | changes
    return {cell.name: cell for cell in parse(content, "c").grid()}


def test_by_hand():
    assert cost.weight(30, 0, 0) == 30 and cost.weight(0, 30, 0) == 10 and cost.weight(30, 30, 5) == 80
    cell = cells()["net-bart2-pgd"]  # 18 draw-gradients and 2 x 6 draws judged an image
    assert cost.of_attack(cell) == 18 and cost.of_image(cell) == 18 + 12 / 3
    assert cost.cell_weight(cell) == pytest.approx(22 * 1.4) and cost.seconds_an_image(cell, 11.0) == 2
    assert cost.forward_rate(5.0) == pytest.approx(15.0)


def printed(file):
    """Return {k: draw-gradients a second} that benchmarks.attack printed into a file."""
    found = re.findall(r"^(identity|k = (\d+)) +([\d.]+) draw-gradients/s", (ROOT / "docs/results" / file).read_text(), re.M)
    return {int(k or 0): float(rate) for _, k, rate in found}


@pytest.mark.parametrize("file", ["h100.txt", "attack-cpu.txt"])
def test_transforms_cost_what_was_measured_on_a_gpu_and_a_cpu(file):
    rates = printed(file)
    assert sorted(rates) == [0, 5, 10]
    for k in (5, 10):
        assert 1 / TOLERANCE < cost.weight(1, 0, k) / (rates[0] / rates[k]) < TOLERANCE, k


def measured(store, attack):
    """Return {k: seconds a draw-gradient} of the rows of a store, for cells of one attack; verdicts count as the model says."""
    columns = ["model", "attack", "status", "k", "seconds", "grad_evals", "forward_evals"]
    sums = {}
    for row in attacked(results(str(ROOT / "docs/results" / store), columns)).to_pylist():
        if row["model"] == "bart" and row["attack"] == attack:
            seconds, work = sums.get(row["k"], (0.0, 0.0))
            sums[row["k"]] = seconds + row["seconds"], work + cost.draw_gradients(row["grad_evals"], row["forward_evals"])
    return {k: seconds / work for k, (seconds, work) in sums.items()}


@pytest.mark.parametrize(
    ("store", "attack", "ks"),
    [("table1-small", "article", (5, 10)), ("table1-small", "default", (5, 10)), ("figure4-small", "pgd-random", range(1, 11)),
     ("figure4-small", "pgd-least", range(1, 11))],
)  # fmt: skip
def test_transforms_cost_what_the_rows_of_finished_campaigns_took(store, attack, ks):
    seconds = measured(store, attack)
    assert sorted(seconds) == [0, *ks]
    for k in ks:
        assert 1 / TOLERANCE < cost.weight(1, 0, k) / (seconds[k] / seconds[0]) < TOLERANCE, k


def test_the_table_of_known_rates_lies_within_the_tolerance():
    for entry in cell_cost._table():
        rates = entry["draw_gradients"]
        assert all(1 / TOLERANCE < cost.weight(1, 0, k) * rates[k] / rates[0] < TOLERANCE for k in rates)


def test_planning_the_time_left_and_the_quote_agree():
    """At rates that follow the model, all three price an image the same."""
    many = cells(defenses={"none": {"k": 0}, "bart2": {"k": 2}, "bart5": {"k": 5}}, cells=[
        {"model": "net", "defense": ["none", "bart2", "bart5"], "attack": "pgd"}
    ])  # fmt: skip
    assert len(many) == 3
    rate, nothing = 50.0, torch.zeros(0, 3, 32, 32)
    planned = {n: Planned(1, 10, c.cost.gradients, c.draws_judged, c.defense.k) for n, c in many.items()}
    rates = {n: rate / cost.weight(1, 0, c.defense.k) for n, c in many.items()}
    seconds = {n: cost.seconds_an_image(c, rates[n]) for n, c in many.items()}
    first = next(iter(many))
    left = time_left.prices({first: seconds[first]}, {n: plan.weight for n, plan in planned.items()})
    quoted = {
        n: cell_cost.estimate(c, planned[n], cell_cost.assumed(rates[n]), nothing, False).seconds for n, c in many.items()
    }
    assert left == pytest.approx(seconds) and quoted == pytest.approx(seconds)
    assert [c.name for c in costliest_first(many.values())] == sorted(seconds, key=seconds.get, reverse=True)
    assert {n: plan.weight for n, plan in planned.items()} == pytest.approx({n: cost.cell_weight(c) for n, c in many.items()})
