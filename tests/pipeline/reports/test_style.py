"""One source of labels, colours and markers: what is changed there changes on the page and in the figures."""

import json
import re

import matplotlib
import pytest

from pipeline import analysis
from pipeline.reports import figures, image_trace, style
from pipeline.reports.page import gather, page
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from tests.support.stores import synthetic

ATTACKS = {"pgd": {"eps": "8/255", "steps": 40}, "small": {"eps": "2/255", "steps": 40}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    synthetic.store(folder, synthetic.campaign([0, 2], ATTACKS), 20, 20)
    return str(folder)


def data_of(text):
    """Return what the scripts of a page get."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


@pytest.mark.parametrize("x", ["k", "eps"])
def test_a_label_of_an_axis_is_the_same_on_the_page_and_in_figures(store, monkeypatch, x):
    monkeypatch.setitem(style.AXES, x, f"another label of {x}")
    monkeypatch.setitem(style.VALUES, "adv", "another accuracy")
    monkeypatch.setitem(style.SIDES, "adv", "under attack")
    (axes,) = figures.curve(analysis.curve(analysis.scores(store), x), x).axes
    text = page(gather(store))
    assert axes.get_xlabel() == data_of(text)["style"]["axes"][x] == f"another label of {x}"
    assert f'<option value="{x}">another label of {x}</option>' in text
    assert axes.get_ylabel() == data_of(text)["style"]["values"]["adv"] == "another accuracy"
    assert any(str(line.get_label()).endswith("under attack") for line in axes.containers)
    assert data_of(text)["style"]["sides"]["adv"] == "under attack"


def test_the_rates_are_named_as_in_the_table(store, monkeypatch):
    assert set(style.RATES.values()) <= set(summaries.HEAD) and style.RATES["adv_top1"] == "attacked top-1"
    monkeypatch.setitem(style.RATES, "adv_top1", "top-1 under attack")
    text = page(gather(store))
    assert "top-1 under attack" in figures.table1(analysis.table(store)).columns
    assert ">top\u20111 under attack</th>" in text and data_of(text)["style"]["rates"]["adv_top1"] == "top-1 under attack"


def test_every_axis_that_the_page_offers_has_a_label(store):
    offered = data_of(page(gather(store)))["curves"]["series"]
    assert {"k", "eps"} <= set(offered) <= set(style.AXES)


def test_cells_without_a_curve_are_drawn_against_what_they_cost(tmp_path):
    """Not against k, which a defense that is no barrage has not: two such cells would differ in nothing."""
    content = synthetic.campaign([2], {"pgd": {"eps": "8/255", "steps": 4, "eot_draws": 2}})
    job = synthetic.store(tmp_path, content, 10, 10)
    offered = data_of(page(gather(job.store)))["curves"]
    assert list(offered["series"]) == ["draw_gradients"]
    assert offered["points"] and all(point["x"]["draw_gradients"] > 0 for point in offered["points"])


def test_every_rule_has_a_sentence(monkeypatch):
    assert list(style.rule_texts()) == list(RULES) and all(text.endswith(".") for text in style.rule_texts().values())

    monkeypatch.setitem(RULES.builtin, "worst", RULES["single"]._replace(about="Right if the worst draw is."))
    monkeypatch.setitem(RULES.builtin, "silent", RULES["single"]._replace(about=""))
    texts = style.rule_texts()
    assert texts["worst"] == "Right if the worst draw is." and texts["silent"] == "silent"


def test_series_have_the_same_colours_and_markers_in_order(store):
    text = page(gather(store))
    light, dark = (re.findall(r"--c(\d): (#\w{6});", part) for part in text.split("prefers-color-scheme: dark", 1))
    assert [colour for _, colour in light] == [series.light for series in style.SERIES]
    assert [colour for _, colour in dark] == [series.dark for series in style.SERIES]
    assert data_of(text)["style"]["markers"] == [series.path for series in style.SERIES]
    frame = analysis.curve(analysis.scores(store), "k")
    (axes,) = figures.curve(frame, "k").axes
    lines = [container[0] for container in axes.containers[::2]]
    assert [line.get_color() for line in lines] == [series.figure for series in style.SERIES[:2]]
    assert [line.get_marker() for line in lines] == [series.marker for series in style.SERIES[:2]]


def test_the_picture_of_an_image_has_the_first_two_colours():
    figure, axes = matplotlib.pyplot.subplots()
    five = [[3, 1, 2, 4, 5]] * 4
    image_trace._classes(axes, {"label": 3, "clean_top5": five, "adv_top5": [[1, 3, 2, 4, 5]] * 4})
    colours = dict.fromkeys(matplotlib.colors.to_hex(bar.get_facecolor()) for bar in axes.patches)
    assert list(colours) == [series.figure for series in style.SERIES[:2]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(style.SIDES.values())
    matplotlib.pyplot.close(figure)
