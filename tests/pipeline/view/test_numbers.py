"""Every number of the page is that of `barrage table`, of the report and of the frames of notebooks."""

import json
import math
from dataclasses import replace

import pytest

from pipeline import analysis
from pipeline.reports.page import gather
from pipeline.scoring import summaries
from pipeline.scoring.intervals import rate
from pipeline.scoring.rules import RULES
from pipeline.view.rows import queries
from pipeline.view.rows.history import POINTS, history
from tests.support.stores import viewer


@pytest.fixture(scope="module")
def table(half, tmp_path_factory):
    """What `barrage table --format json` prints."""
    from typer.testing import CliRunner

    from pipeline.cli.app import app

    found = CliRunner().invoke(app, ["table", str(half), "--format", "json"])
    assert found.exit_code == 0
    return json.loads(found.stdout)


def plain(value):
    """A value without NaN, and with the types of JSON."""
    if isinstance(value, dict):
        return {str(key): plain(of) for key, of in value.items()}
    if isinstance(value, list | tuple):
        return [plain(of) for of in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def test_lines_are_those_of_the_table(read, table):
    assert read.content["lines"] == table and len(table) == 9 * len(RULES)


def test_what_the_report_shows_too_is_the_same(read, half):
    report = gather(str(half))
    content = read.content
    assert content["curves"]["curves"]["series"] == plain(report.points["curves"]["series"])
    known = {(point["cell"], point["rule"]): point for point in plain(report.points["curves"]["points"])}
    for point in content["curves"]["curves"]["points"]:
        other = known.pop((point["cell"], point["rule"]))
        assert {**point, "planned": None} == {**other, "planned": None}, "the report leaves out what is planned"
    assert not known
    order = {(row["cell"], row["draws"]): row for row in plain(report.points["persistent"])}
    assert (
        content["curves"]["persistent"]
        and {(row["cell"], row["draws"]): row for row in content["curves"]["persistent"]} == order
    )
    assert content["curves"]["certified"] == [] == report.points["certified"]
    assert [row | {"hours": 0} for row in content["machines"]] == [plain(row) | {"hours": 0} for row in report.machines]
    assert [row["hours"] for row in content["machines"]] == pytest.approx([row["hours"] for row in report.machines])
    assert content["failures"] == plain(report.failures) and len(content["failures"]) == 1
    assert content["checks"] == report.checks == []
    assert set(content["notes"]) == {*report.notes, "n of N: not all images are done yet"}


def test_cells_are_those_of_the_status_and_the_campaign(read, half):
    settings = {row["cell"]: row for row in plain(analysis.settings(read.job).to_dict("records"))}
    assert len(read.content["cells"]) == 9
    for cell in read.content["cells"]:
        for name in ("model", "defense", "attack", "norm", "eps", "k", "steps", "eot_draws", "evaluation_draws"):
            assert cell[name] == settings[cell["cell"]][name]
        assert (cell["units"], cell["units_done"], cell["images"], cell["images_done"]) == (3, 2, 99, 66)
        assert (cell["failed"], cell["blind"], cell["stopped"]) == (1, 0, False)
    assert read.content["rows"] == 594 and not read.content["complete"]


def test_groups_by_cell_are_the_lines_of_the_table(read, table):
    for rule in RULES:
        for top in (1, 5):
            asked = queries.parsed({"group": ["cell"], "rule": rule, "top": top, "limit": 1000}, list(RULES))
            found = {row[0]: row[1:] for row in read.database.answer(asked)["rows"]}
            for line in (line for line in table if line["rule"] == rule):
                images, clean, adv, failed, *_ = found[line["cell"]]
                assert (images, failed) == (line["images"], line["failed"])
                assert (clean, adv) == pytest.approx((line[f"clean_top{top}"], line[f"adv_top{top}"]), abs=1e-12)


def test_the_history_ends_at_the_table_and_grows_narrower(read, table):
    known = {line["cell"]: line for line in table if line["rule"] == "single"}
    assert read.content["history"].keys() == known.keys()
    for cell, points in read.content["history"].items():
        line = known[cell]
        assert points[-1] == [line["images"], *(line[f"adv_top1{end}"] for end in ("", "_low", "_high"))]
        assert [point[0] for point in points] == [33, 65]
        assert points[1][3] - points[1][2] < points[0][3] - points[0][2]


def test_the_history_follows_the_order_of_commits(read):
    """Three times for two units, against the shares of their rows."""
    cell = read.content["cells"][-1]["cell"]
    units = list(read.reading.cells[cell].times)
    shares = {}
    for unit in units:
        asked = queries.parsed(
            {"where": [["unit", "=", unit], ["status", "=", "ok"]], "columns": ["adv"], "limit": 1000}, list(RULES)
        )
        shares[unit] = [share for (share,) in read.database.answer(asked)["rows"]]
    for first, second in (units, units[::-1]):
        found = history(read.database, cell, {first: 10.0, second: 20.0})
        one, both = rate(shares[first]), rate(shares[first] + shares[second])
        assert found == [[len(shares[first]), one.value, one.low, one.high], [both.images, both.value, both.low, both.high]]


def test_a_long_history_has_a_bounded_number_of_points(tmp_path):
    from tests.support.stores import synthetic

    synthetic.store(tmp_path, synthetic.campaign([2], {"pgd": {"eps": "8/255", "steps": 1, "eot_draws": 1}}), 70, 1)
    (points,) = viewer.watched(tmp_path).content["history"].values()
    assert len(points) == POINTS and points[-1][0] == 70 and sorted(point[0] for point in points) == [p[0] for p in points]


def test_one_image_has_its_row_and_the_classes_of_every_draw(read, half):
    from pipeline.view.images import image

    rows = analysis.results(str(half))
    key = rows["image_key"][3]
    expected = rows[rows["image_key"] == key].set_index("cell")
    found = image(read, "val-000000", key)
    assert {row["cell"] for row in found["rows"]} == set(expected.index) and len(found["rows"]) == 9
    for row in found["rows"]:
        other = expected.loc[row["cell"]]
        for name in ("clean_top5", "adv_top5"):
            assert row[name] == [list(five) for five in other[name]]
        assert row["adv_mean_top5"] == list(other["adv_mean_top5"])
        assert row["adv_vote_1"] in (0.0, 1.0) and row["adv_single_1"] == other["adv_correct"] / other["evaluation_draws"]
    label = int(expected["label"].iloc[0])
    assert found["label_name"] == f"class {label}" == found["names"][label]
    assert all(name == f"class {at}" for at, name in found["names"].items())


def test_a_tally_of_parts_is_that_of_the_whole(half):
    """What the viewer adds up piece by piece is what the table makes of all rows at once."""
    from pipeline.store.rows import batches

    rules = list(RULES)
    pieces = [piece.slice(at, 7) for piece in batches(str(half), summaries.columns(rules)) for at in range(0, len(piece), 7)]
    parts, whole = summaries.lines(iter(pieces), rules), summaries.lines(batches(str(half), summaries.columns(rules)), rules)
    assert [replace(line, seconds=0.0) for line in parts] == [replace(line, seconds=0.0) for line in whole] and whole
    assert [line.seconds for line in parts] == pytest.approx([line.seconds for line in whole])
