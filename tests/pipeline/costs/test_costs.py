"""What a plan says of cost: arithmetic by hand, sizes beside real files, speeds beside a model whose speed is known."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from bart import Barrage, Classifier, Defended
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.costs import cell_cost
from pipeline.costs.campaign_cost import Asked, quote
from pipeline.costs.cell_cost import Estimate, Rated, bill
from pipeline.costs.quote_text import lines, show, size
from pipeline.data import guarded, shards
from pipeline.errors import BadInput
from pipeline.execution import LocalExecutor
from pipeline.planning import cost, throughput
from pipeline.planning.throughput import Speed
from pipeline.store.planned_cells import Planned
from tests.support import tiny

CPU = torch.device("cpu")


@pytest.fixture
def quick(monkeypatch):
    """Measuring without patience."""
    monkeypatch.setattr(throughput, "SECONDS", 0.0)


def resnet50(k=10, **attack):
    content = tiny.campaign("x.tar", data={"shards": "x.tar"}, defenses={"d": {"k": k}}, evaluation_draws=20)
    content["models"] = {"net": {"architecture": "torchvision:resnet50", "weights": "DEFAULT"}}
    content["attacks"] = {"pgd": {"eps": "8/255", "steps": 40, "eot_draws": 40} | attack}
    content["cells"] = [{"model": "net", "defense": "d", "attack": "pgd"}]
    (cell,) = parse(content, "c").grid()
    return cell


def costing(seconds, images=100, units=10, row=10.0, example=100.0):
    return Estimate(Planned(units, images, 1, 1, 0), Rated(None, "x"), seconds, row, example)


def test_the_bill_by_hand():
    found = bill([costing(36.0), costing(72.0, images=50)], 2, 3.0)
    assert (found.device_hours, found.hours, found.price) == (2.0, 1.0, 6.0)
    assert (found.row_bytes, found.example_bytes) == (1500, 15000)
    assert bill([costing(36.0)], 1000, None).hours == 0.1, "the clock waits for the longest unit"
    unknown = bill([costing(36.0), costing(None)], 1, 3.0)
    assert (unknown.device_hours, unknown.hours, unknown.price) == (None, None, None)


def test_seconds_of_an_image_are_those_of_its_attack_and_its_verdicts():
    cell, sample = resnet50(), torch.zeros(0, 3, 224, 224)
    found = cell_cost.estimate(cell, Planned(1, 10, 1600, 40, 10), Rated(Speed(100.0, 400.0), "x"), sample, False)
    assert found.seconds == pytest.approx(1600 / 100 + 40 / 400) and found.example_bytes == 0
    square = resnet50(kind="square", steps=30)
    assert cost.of_attack(square) == pytest.approx(square.cost.forwards / 3) and square.cost.gradients == 0


def test_known_rates_are_the_measured_ones_and_nothing_else():
    assert cell_cost.known("h100", resnet50(k=10)).speed == Speed(3388.6, pytest.approx(3 * 3388.6))
    assert cell_cost.known("H100", resnet50(k=0)).speed.attack == 6032.0
    between = cell_cost.known("h100", resnet50(k=7))
    assert 1 / between.speed.attack == pytest.approx(0.6 / 4132.3 + 0.4 / 3388.6) and "interpolated" in between.source
    assert "docs/results/h100.txt" in between.source and "interpolated" not in cell_cost.known("h100", resnet50()).source
    for cell in (
        resnet50(policy="identity"), resnet50(kind="square"), resnet50(transfer=True),
        resnet50().model_copy(update={"crop": 299}),
        resnet50().model_copy(update={"defense": resnet50().defense.model_copy(update={"transforms": ("fft",)})}),
    ):  # fmt: skip
        assert cell_cost.known("h100", cell) is None
    assert cell_cost.known("v100", resnet50()) is None


def test_the_table_of_rates_is_what_was_printed_when_they_were_measured():
    for entry in cell_cost._table():
        source = entry["source"].partition(",")[0]
        printed = Path(source).read_text()
        for rate in entry["draw_gradients"].values():
            assert re.search(rf"\b{rate} draw-gradients/s", printed) and entry["gpu"] in printed


def test_bytes_are_those_of_a_real_store(tmp_path, pattern, quick):
    content = tiny.campaign(pattern)
    store = tmp_path / "store"
    job = prepare(parse(content, "c"), str(store))
    run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    found = quote(parse(content, "c"), Asked(measure=False))
    for kind, said in (("results", found.bill.row_bytes), ("adversarial", found.bill.example_bytes)):
        real = sum(path.stat().st_size for path in (store / kind).rglob("*.*") if path.is_file())
        assert 0.75 * real < said < 1.35 * real, kind


def test_data_that_are_elsewhere_are_planned_like_those_at_hand(pattern, quick):
    content = tiny.campaign(pattern, save_adversarial=False)
    there = quote(parse(content, "c"), Asked(measure=False, rate=100.0))
    content["data"]["shards"] = "s3://nowhere/photos-{000000..000001}.tar"
    content["models"]["net"] = {"architecture": "torchvision:resnet50", "weights": "none/here.pt", "classes": 10}
    elsewhere = quote(parse(content, "c"), Asked(measure=False, rate=100.0, images=8))
    assert elsewhere.bill.device_hours == there.bill.device_hours is not None
    for name, cell in there.cells.items():  # the shards there are uneven, so their units are too
        assert replace(elsewhere.cells[name].planned, units=0) == replace(cell.planned, units=0)
    assert [shard.images for shard in shards.imagined(parse(content, "c").data, 7).values()] == [3, 4]


class Paced(torch.nn.Module):
    """A linear model on a clock of its own: a pass takes as long as is told, whatever the machine does."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.linear, self.clock, self.seconds = torch.nn.Linear(3, 10), clock, seconds

    def forward(self, x):
        self.clock[0] += self.seconds * len(x)
        return self.linear(x.mean((2, 3)))


@pytest.mark.parametrize("stack", [1, 4, 64])
@pytest.mark.parametrize("draws", [1, 3, 40])
def test_speeds_are_measured_by_draw(monkeypatch, stack, draws):
    clock = [0.0]
    classifier = Classifier(Paced([0.0], 0.0), (0.5,) * 3, (0.5,) * 3, (32, 32))
    classifier.model.clock, classifier.model.seconds = clock, 0.01
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])
    content = tiny.campaign("x.tar", evaluation_draws=7)
    content["attacks"] = {"pgd": {"eps": "8/255", "steps": 2, "eot_draws": draws}}
    cell = next(cell for cell in parse(content, "c").grid() if cell.defense.cost)
    found = throughput.speed(Defended(classifier, Barrage(2, cell.defense.build().choices)), cell, stack, CPU)
    assert (found.attack, found.verdict) == pytest.approx((100.0, 100.0)) and found.error == pytest.approx(0, abs=1e-6)


def test_draws_without_a_gradient_count_for_a_third(monkeypatch):
    clock = [0.0]
    classifier = Classifier(Paced([0.0], 0.0), (0.5,) * 3, (0.5,) * 3, (32, 32))
    classifier.model.clock, classifier.model.seconds = clock, 0.01
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])
    content = tiny.campaign("x.tar", attacks={"pgd": {"kind": "noise", "eps": "8/255", "steps": 8, "eot_draws": 2}})
    cell = next(cell for cell in parse(content, "c").grid() if cell.defense.cost)
    defended = Defended(classifier, Barrage(2, cell.defense.build().choices))
    whole = throughput.rate(defended, cell, 4, CPU)
    assert whole == pytest.approx(100 / 3, rel=0.05)


def test_cells_that_differ_in_budget_alone_are_measured_once(pattern, quick):
    content = tiny.campaign(pattern)
    pgd = content["attacks"]["pgd"]
    content["attacks"] = {"pgd": pgd, "weak": pgd | {"eps": "2/255", "steps": 3}, "identity": pgd | {"policy": "identity"}}
    content["cells"] = [{"model": "net", "defense": "bart2", "attack": ["pgd", "weak", "identity"]}]
    said = []
    found = quote(parse(content, "c"), Asked(), said.append)
    assert len(said) == 2
    weak, strong = found.cells["net-bart2-weak"], found.cells["net-bart2-pgd"]
    assert weak.rated == strong.rated and weak.seconds < strong.seconds
    assert strong.rated.speed.attack > 0 and not found.unknown


def test_the_machine_at_hand_is_not_measured_for_another(pattern, monkeypatch):
    monkeypatch.setattr(throughput, "speed", lambda *arguments: pytest.fail("measured"))
    found = quote(parse(tiny.campaign(pattern), "c"), Asked(gpu="v100"))
    assert found.unknown == list(found.cells) and found.bill.price is None and found.device == "v100"
    said = "\n".join(lines(found))
    assert "cost: unknown on v100, for all cells" in said and "--rate" in said and "NVIDIA H100 80GB HBM3" in said
    found = quote(parse(tiny.campaign(pattern), "c"), Asked(gpu="v100", count=2, price=3.6, rate=10.0))
    seconds = 8 * ((18 + 8 / 3) + (6 + 2 / 3)) / 10
    assert found.bill.device_hours == pytest.approx(seconds / 3600) and found.bill.price == pytest.approx(seconds / 1000)
    assert "assumed by --rate" in "\n".join(lines(found))


def test_damaged_images_do_not_stop_a_plan(pattern, monkeypatch):
    monkeypatch.setattr(guarded, "decode", lambda *arguments, **options: (_ for _ in ()).throw(ValueError("damaged")))
    found = quote(parse(tiny.campaign(pattern), "c"), Asked(measure=False))
    assert found.bill.example_bytes == 2 * 8 * 3 * 32 * 32, "as if they did not compress"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_plan_names_every_cell_and_no_line_is_lost(pattern, width, capsys):
    console = Console(width=width, force_terminal=True, color_system=None)
    show(quote(parse(tiny.campaign(pattern), "c"), Asked(measure=False, rate=10.0, price=1.0)), console)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width and "…" not in out
    assert re.search(r"net-bart2-pgd .* 0\.005 *$", out, re.M) and re.search(r"net-none-pgd .* 0\.001 *$", out, re.M)
    out = " ".join(out.split())  # lines may break anywhere
    assert "work: 6 units, 16 rows, at most 192 draw-gradients and 80 forward draws" in out
    assert "0.006 device-hours" in out and "0.01 USD at 1 USD an hour" in out


def test_bad_options_are_refused(barrage, write, pattern):
    path = write(tiny.campaign(pattern))
    for options in (["--gpus", "0"], ["--rate", "0"], ["--price", "-1"]):
        code, _, err = barrage("plan", path, *options)
        assert code == 2 and options[0] in err
    with pytest.raises(BadInput):
        quote(parse(tiny.campaign("none/x.tar"), "c"), Asked())


@pytest.mark.parametrize(("count", "said"), [(999, "999 bytes"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e15, "3e+03 TB")])
def test_sizes(count, said):
    assert size(count) == said
