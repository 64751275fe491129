"""The page in a real browser, the figures' files, and one image's story against the rows."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from bart import Barrage, Defended, judge
from bart.defenses.barrage import described
from pipeline import analysis, escaped
from pipeline.campaigns import image_keys
from pipeline.campaigns.job import opened
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.config.defenses import BarrageDefense
from pipeline.data import shards
from pipeline.data.pack import pack
from pipeline.errors import BadInput
from pipeline.execution import LocalExecutor
from pipeline.models import loading
from pipeline.reports import figures
from pipeline.reports.page import content, gather, page, write
from pipeline.reports.pictures import OF_A_PICTURE, Example, Images, stages
from pipeline.store.layout import Store
from pipeline.store.rows import results
from tests.support import tiny
from tests.support.page.visited import visiting
from tests.support.stores import release01, synthetic

SMALL = {"pgd": {"eps": "8/255", "steps": 40, "eot_draws": 4}, "weak": {"eps": "8/255", "steps": 10, "eot_draws": 4}}
CONTRAST = """([selector, property, behind]) => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 10.31475 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (text) => { const [r, g, b] = numbers(text).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let at = document.querySelector(selector);
  const ink = getComputedStyle(at)[property];
  if (behind) at = document.querySelector(behind);
  while (at && numbers(getComputedStyle(at).backgroundColor)[3] === 0) at = at.parentElement;
  const two = [light(ink), light(getComputedStyle(at || document.body).backgroundColor)].sort((a, b) => b - a);
  return (two[0] + 0.05) / (two[1] + 0.05); }"""
"""The contrast of a colour of an element with what is behind it, or with another element's ground, by WCAG 2."""
STRONG = ["hist_eq", "contrast_stretch", "hsv", "lab", "grey_mix", "zoom"]
"""Transforms that change what the tiny network says."""
CHECK = {"cell": "net-bart2-pgd", "identity": "0", "checks": [
    {"name": "undefended", "passed": True, "figures": "base 10.0, none 0.0", "why": "nothing must be left"},
    {"name": "losses", "passed": False, "figures": "base 10.0", "why": "no other loss <b>beats</b> it"},
    {"name": "goals", "passed": None, "figures": "", "why": "reported"}]}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A store of a whole run: eight images, undefended and behind two transforms."""
    folder = tmp_path_factory.mktemp("run")
    files = []
    for i in range(8):
        files.append((folder / f"image{i}.png", i))
        files[-1][0].write_bytes(tiny.picture(i))
    pack(files, folder / "shards", "photos", per_shard=5)
    attack = {"pgd": {"eps": "8/255", "steps": 2, "step_size": "4/255", "eot_draws": 2}}
    defenses = {"none": {"k": 0}, "bart2": {"k": 2, "transforms": STRONG}}
    asked = tiny.campaign(str(folder / "shards" / "photos-{000000..000001}.tar"), attacks=attack, defenses=defenses)
    job = prepare(parse(asked, "c.yaml"), str(folder / "store")).with_cuts({})
    job.write_down()
    assert run(job, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
    Store(job.store).replace("check/net-bart2-pgd/check.json", json.dumps(CHECK).encode())
    return job.store


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A store of which half is done, without shards: 66 images a cell, of which one failed."""
    folder = tmp_path_factory.mktemp("half")
    synthetic.store(folder, synthetic.campaign([0, 2, 10], SMALL), 99, 33, failed=34, units=2)
    return str(folder)


@pytest.fixture
def visit(browser, tmp_path):
    """Opens the page of a store; see `visiting`."""
    with visiting(browser) as opened:

        def of_store(store, width=1280, scheme="light"):
            path = tmp_path / "report.html"
            write(store, path)
            return opened(path, width, scheme)

        yield of_store


def shown(view, selector):
    return [node for node in view.query_selector_all(selector) if node.is_visible()]


def test_charts_tables_and_filters_work_in_a_browser(visit, half):
    view = visit(half)
    assert "Half finished: 396 of 594 image attacks are committed (12 of 18 units)" in view.inner_text("header")
    assert len(shown(view, "#table tbody tr")) == 6 and len(shown(view, "#curve .mark")) == 12
    assert [t.inner_text() for t in shown(view, "#curve .legend [aria-pressed]")] == ["pgd", "weak"]
    view.fill("#filter", "BART2")
    assert [row.inner_text().split()[0] for row in shown(view, "#table tbody tr")] == [
        "resnet50-bart2-pgd",
        "resnet50-bart2-weak",
    ]
    assert len(shown(view, "#curve .mark")) == 4 and view.inner_text("#count") == "2 of 6 cells"
    assert [t.inner_text() for t in shown(view, "#persistent .legend [aria-pressed]")] == [
        "resnet50-bart2-pgd",
        "resnet50-bart2-weak",
    ]
    view.fill("#filter", "nothing like it")
    assert not shown(view, "#curve .mark") and "nothing is left" in view.inner_text("#curve")
    view.fill("#filter", "")
    view.uncheck("#clean")
    assert len(shown(view, "#curve .mark")) == 6
    view.click("#curve .legend >> text=weak")
    assert len(shown(view, "#curve .mark")) == 3
    view.select_option("#x", "draw_gradients")
    assert "draw-gradients per image" in view.inner_html("#curve")


def test_the_charts_figures_are_those_of_the_table(visit, half):
    view = visit(half)
    table = analysis.table(half).set_index(["cell", "rule"])
    for rule, top in (("single", "1"), ("vote", "5")):
        view.select_option("#rule", rule)
        view.select_option("#top", top)
        labels = [mark.get_attribute("aria-label") for mark in shown(view, "#curve .mark")]
        for cell in table.index.levels[0]:
            line = table.loc[(cell, rule)]
            for side, name in (("attacked", f"adv_top{top}"), ("clean", f"clean_top{top}")):
                value = f"{100 * line[name]:.1f} % [{100 * line[f'{name}_low']:.1f}, {100 * line[f'{name}_high']:.1f}]"
                wanted = (
                    f"{cell}, {side} top-{top}: {value}, {line['images']} images, {line['draw_gradients']:,} draw-gradients"
                )
                assert wanted in labels
        (row,) = (row for row in shown(view, "#table tbody tr") if row.inner_text().startswith("resnet50-bart10-pgd"))
        assert f"{100 * table.loc[('resnet50-bart10-pgd', rule), 'adv_top1']:.1f}" in row.inner_text()


def test_targets_have_their_own_curve_and_figure(visit, tmp_path):
    attacks = {"pgd": {"eps": "8/255", "steps": 4}, "least": {"eps": "8/255", "steps": 4, "goal": "least_likely"}}
    synthetic.store(tmp_path / "store", synthetic.campaign([0, 5], attacks), 40, 40)
    found = analysis.accuracy(analysis.scores(str(tmp_path / "store"))).set_index("cell")
    wanted = [found.loc[f"resnet50-{defense}-least", "target_hit"] for defense in ("none", "bart5")]
    view = visit(str(tmp_path / "store"))
    view.select_option("#top", "targets")
    marks = [mark.get_attribute("aria-label") for mark in shown(view, "#curve .mark")]
    assert [re.search(r"target hit: ([\d.]+) %", mark)[1] for mark in marks] == [f"{100 * rate:.1f}" for rate in wanted]
    assert "draws that say the target" in view.inner_html("#curve")
    scores = analysis.scores(str(tmp_path / "store"))
    drawn = dict(figures._curves(scores[scores["attack"] == "least"]))
    assert {"figure4", "figure4-targets"} <= set(drawn)
    frame = analysis.curve(scores, "k")
    (axes,) = figures.curve(frame, "k", clean=False, value="target_hit").axes
    (line, *_) = axes.containers[0]
    assert np.allclose(line.get_ydata(), 100 * np.array(wanted)) and len(axes.containers) == 1


def focused(view, name="aria-label"):
    return view.evaluate(f"document.activeElement.getAttribute('{name}')")


def test_charts_zoom_by_pointer_and_by_keyboard(visit, half):
    view = visit(half)
    before = len(shown(view, "#curve .mark.inside"))
    view.query_selector("#curve svg").scroll_into_view_if_needed()
    box = view.query_selector("#curve svg").bounding_box()
    view.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.05 * box["height"])
    view.mouse.down()
    view.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + 0.85 * box["height"])
    view.mouse.up()
    assert 0 < len(shown(view, "#curve .mark.inside")) < before
    view.focus("#curve >> text=whole chart")
    view.keyboard.press("Enter")
    assert len(shown(view, "#curve .mark.inside")) == before
    view.focus("#curve >> text=zoom in")
    view.keyboard.press("Space")
    assert len(shown(view, "#curve .mark.inside")) < before and view.evaluate("document.activeElement.textContent") == "zoom in"


def test_everything_is_reached_by_keyboard_and_the_focus_is_seen(visit, half):
    view = visit(half)
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.className") == "skip"
    order = []
    while (on := view.evaluate("(({id, localName}) => id || localName)(document.activeElement)")) != "body":
        order.append(on)
        look = "(e => getComputedStyle(e.querySelector('.ring') || e))(document.activeElement)"
        assert view.evaluate(
            f"{look}.opacity == 1 && ({look}.outlineStyle != 'none' || !!document.activeElement.closest('svg'))"
        )
        view.keyboard.press("Tab")
    kept = [on for on in dict.fromkeys(order) if on in ("filter", "rule", "x", "top", "clean", "g", "summary")]
    assert kept == ["filter", "rule", "x", "top", "clean", "g", "summary"] and order.count("g") == 2, "one stop a chart"
    view.focus("#clean")
    view.keyboard.press("Tab")
    labels = [mark.get_attribute("aria-label") for mark in shown(view, "#curve .mark.inside")]
    assert focused(view) == labels[0] and labels[0] in view.inner_text("#curve .tip")
    for key, place in (("ArrowRight", 1), ("ArrowDown", 2), ("ArrowLeft", 1), ("End", -1), ("ArrowRight", -1), ("Home", 0)):
        view.keyboard.press(key)
        assert focused(view) == labels[place] and labels[place] in view.inner_text("#curve .tip")
    view.focus("#rule")
    view.keyboard.press("ArrowDown")
    assert view.evaluate("document.getElementById('rule').value") == "vote"
    view.focus("#filter")
    view.keyboard.type("bart10")
    assert view.inner_text("#count") == "2 of 6 cells"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_is_legible(visit, done, scheme):
    view = visit(done, width=390, scheme=scheme)
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    pictures = view.query_selector_all("img")
    assert pictures and all(picture.evaluate("i => i.complete && i.naturalWidth == 32") for picture in pictures)
    assert all(picture.get_attribute("alt") for picture in pictures)
    view.click("#curve .legend [aria-pressed]")
    texts = ("h1", ".dim", ".state", "td.key", "nav a", ".pass", ".fail", "figcaption", "pre", "thead th", "small", "button")
    for selector in (*texts, "[aria-pressed=false]", ".tiles div", "label", "select", "footer p"):
        assert view.evaluate(CONTRAST, [selector, "color"]) >= 4.5, selector
    assert view.evaluate(CONTRAST, ["#curve svg text", "fill"]) >= 4.5
    for selector in ("#filter", "#rule", "button"):
        assert view.evaluate(CONTRAST, [selector, "borderTopColor"]) >= 3, selector
    assert view.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_series_stands_out_from_the_page(visit, tmp_path, scheme):
    """Few series have fixed colours, many a ramp of hues: all at 3 to 1 or more, and no two of a chart alike in both ways."""
    attacks = {f"pgd{i}": {"eps": f"{i + 1}/255", "steps": 4} for i in range(6)}
    synthetic.store(tmp_path / "store", synthetic.campaign([1, 5], attacks), 20, 20)
    view = visit(str(tmp_path / "store"), scheme=scheme)
    for chart, count in (("#curve", 6), ("#persistent", 12)):
        looks = view.eval_on_selector_all(
            f"{chart} .legend svg path", "all => all.map(p => [getComputedStyle(p).fill, p.getAttribute('d')])"
        )
        assert len(looks) == len({tuple(look) for look in looks}) == count
        for place in range(1, count + 1):
            selector = f"{chart} .legend button:nth-child({place}) svg path"
            assert view.evaluate(CONTRAST, [selector, "fill", "body"]) >= 3, (chart, looks[place - 1])


def test_the_page_holds_everything_itself_and_says_what_was_run(done, tmp_path):
    write(done, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert len(text) < 10e6
    assert (
        not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", text)
        and "@import" not in text
        and "url(" not in text.split("<script")[0]
    )
    job = opened(done)
    for wanted in (*(cell.identity for cell in job.cells.values()), *(shard.sha256 for shard in job.shards.values())):
        assert wanted in text
    assert "Complete: every planned unit is committed." in text and "torch " + torch.__version__.partition("+")[0] in text
    assert "✓ pass" in text and "✗ FAIL" in text and "&lt;b&gt;beats&lt;/b&gt;" in text and "<b>beats" not in text
    assert text.count('alt="Difference of the two') == 2 * 3  # a unit of three images in each cell


def test_a_half_finished_store_without_shards_says_what_is_missing(half):
    text = page(gather(half))
    assert "Half finished" in text and "Not checked yet" in text
    assert "No examples: shard none/val-000000.tar can not be read" in text
    assert "1 images <code>bad_image</code> in 6 cells, such as" in text


def test_names_of_cells_are_spread_over_the_gallery():
    names = [str(i) for i in range(20)]
    assert content._spread(names, 6) == ["0", "4", "8", "11", "15", "19"] and content._spread(names[:6], 6) == names[:6]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_story_goes_through_the_draws_that_judged_the_image(done, frozen):
    """Beside the verdict's own way: all draws of an image in one stack, by the keys that the verdict uses."""

    class Noting(Defended):
        def logits(self, x, keys, *rest, **options):
            met.append(keys)
            return super().logits(x, keys, *rest, **options)

    cell = opened(done).cells["net-bart2-pgd"]
    cell = cell.model_copy(update={"defense": BarrageDefense(k=2, transforms=cell.defense.build().choices, frozen=frozen)})
    barrage = Barrage(2, tuple(STRONG))
    defended = Noting(loading.classifier(cell.model, cell.crop, torch.device("cpu")), barrage, frozen)
    picture = np.asarray(Image.open(io.BytesIO(tiny.picture(3, 32)))).transpose(2, 0, 1)
    image, met = ("photos-000000", "image3"), []
    judge(defended, torch.from_numpy(picture.copy())[None], image_keys.to_judge(cell, [image]), 4, stack=4)
    (keys,) = met
    drawn = barrage.draw(keys, (32, 32))
    judged = barrage.apply(torch.from_numpy(picture.copy())[None].float().expand(4, -1, -1, -1) / 255, drawn)
    for draw, (names, last) in enumerate(zip(described(drawn), judged, strict=True)):
        through = stages(cell, image, picture.copy(), draw)
        assert [name for name, _ in through] == names
        assert np.abs(through[-1][1] - 255 * last.numpy()).max() <= 0.5 + 1e-3
        assert not np.array_equal(through[0][1], picture) or not np.array_equal(through[1][1], picture)


def test_examples_are_the_images_of_the_shards_and_of_the_store(done):
    job = opened(done)
    images = Images(job)
    for row in results(done, [*OF_A_PICTURE, "linf", "l2"]).to_pylist():
        of = images.unit(row)
        assert of in list(job.units())
        example = images.example(row)
        (sample,) = (s for s in shards.read(job.shards[of.shard], job.places(of)) if s.key == row["image_key"])
        assert np.array_equal(example.clean, shards.decode(sample.image, None, 32))
        change = (example.adversarial.astype(float) - example.clean) / 255
        assert np.abs(change).max() == pytest.approx(row["linf"]) and np.sqrt((change**2).sum()) == pytest.approx(row["l2"])
    with pytest.raises(BadInput, match="unit net-none-pgd--other--000000-000003 is none of store"):
        images.unit(row | {"unit": "net-none-pgd--other--000000-000003"})
    with pytest.raises(BadInput, match="holds no image nobody: give a key of its rows"):
        images.clean(row | {"image_key": "nobody"})


def test_a_difference_is_magnified_to_the_whole_range():
    clean = np.full((3, 2, 2), 100, np.uint8)
    attacked = clean.copy()
    attacked[0, 0, 0], attacked[1, 0, 0] = 104, 96
    example = Example("x", clean, attacked)
    assert example.magnified == 127 / 4 and example.difference[:, 0, 0].tolist() == [255, 1, 128]


def test_what_one_pass_over_the_rows_sums_up_is_what_frames_of_them_say(half):
    content, scores = gather(half), analysis.scores(half)
    frame = analysis.persistence(scores[scores["evaluation_draws"] > 1], ["cell"]).astype({"cell": str})
    assert content.points["persistent"] == frame.to_dict("records") and len(frame) == 80
    machines = analysis.machines(half).assign(versions=lambda frame: frame["versions"].map(json.loads))
    assert content.machines == machines.to_dict("records") and len(machines) == 1
    assert content.failures == analysis.failures(half).to_dict("records") and len(content.failures) == 1


def test_figures_are_vectors_and_tables_hold_the_rates(half, tmp_path):
    names = [path.name for path in figures.write(half, tmp_path)]
    assert {"table1.csv", "table1.tex", "figure4.pdf", "figure4.png", "steps.pdf", "cost.png", "persistent-pgd.pdf"} <= set(
        names
    )
    assert len(names) == len(set(names)) == len(list(tmp_path.iterdir())) and not [n for n in names if "targets" in n]
    pdf = (tmp_path / "figure4.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/Subtype /Image" not in pdf
    with Image.open(tmp_path / "figure4.png") as picture:
        assert picture.width > 800
    table = analysis.table(half)
    assert np.allclose(pd.read_csv(tmp_path / "table1.csv")["adv_top1"], table["adv_top1"])
    latex = (tmp_path / "table1.tex").read_text()
    line = table[(table["cell"] == "resnet50-bart10-pgd") & (table["rule"] == "single")].iloc[0]
    value = f"{100 * line['adv_top1']:.1f} [{100 * line['adv_top1_low']:.1f}, {100 * line['adv_top1_high']:.1f}]"
    (row,) = (text for text in latex.splitlines() if text.startswith("resnet50-bart10-pgd &"))
    assert value in row and row.endswith(r"\\") and row.count("&") == latex.splitlines()[6].count("&")
    assert r"Accuracy in \% of 65" in latex and escaped.latex("a_b%\\") == r"a\_b\%\textbackslash{}"


def test_a_figure_draws_the_frame_with_its_intervals(half):
    frame = analysis.curve(analysis.scores(half), "k")
    (axes,) = figures.curve(frame, "k").axes
    drawn = {bars.get_label(): bars for bars in axes.containers}
    assert set(drawn) == {"pgd, attacked", "pgd, clean", "weak, attacked", "weak, clean"}
    some = frame[frame["attack"] == "weak"]
    line, _, (intervals,) = drawn["weak, attacked"]
    assert np.allclose(line.get_xydata(), some[["k", "adv"]].to_numpy(float) * [1, 100])
    ends = np.array([segment[:, 1] for segment in intervals.get_segments()])
    assert np.allclose(ends, 100 * some[["adv_low", "adv_high"]].to_numpy())


def test_a_figure_of_many_series_shows_each_and_its_legend_whole(tmp_path):
    attacks = {f"pgd-{steps}-{eps}": {"eps": f"{eps}/255", "steps": steps} for steps in (1, 4) for eps in (2, 8)}
    synthetic.store(tmp_path / "store", synthetic.campaign([1, 2, 3, 4, 5, 6, 7, 8], attacks), 10, 10)
    figure = figures.curve(analysis.curve(analysis.scores(str(tmp_path / "store")), "eps"), "eps")
    figure.savefig(tmp_path / "a.png")
    (axes,) = figure.axes
    legend = axes.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len(set(names)) == 17 and {"bart3, 4 steps", "dashed: clean"} < set(names)
    box, page = legend.get_window_extent(), figure.bbox
    assert page.y0 <= box.y0 and box.y1 <= page.y1 and box.x1 <= page.x1
    assert axes.get_window_extent().width > page.width / 2, "room is left for the curves"


def test_lines_at_the_same_x_are_drawn_beside_each_other(half):
    frame = analysis.accuracy(analysis.scores(half), ["model", "k", "defense", "attack"])
    figure = figures.cost(frame.assign(draw_gradients=100, adv=0.5, adv_low=0.4, adv_high=0.6))
    figure.canvas.draw()
    (axes,) = figure.axes
    lines = [container[0] for container in axes.containers]
    assert len(lines) == 3 and all((line.get_xdata() == 100).all() for line in lines)
    at = [line.get_transform().transform((100, 50))[0] for line in lines]
    assert 1 < at[1] - at[0] < 10 and at[2] - at[1] == pytest.approx(at[1] - at[0])


def test_the_commands_write_what_they_name(barrage, done, half, tmp_path):
    code, said, _ = barrage("report", half, "-o", tmp_path / "page.html", "--figures", tmp_path / "figures")
    assert code == 0 and "page.html: 0." in said and "half finished" in said and "figure4.pdf" in said
    assert (tmp_path / "page.html").exists() and (tmp_path / "figures" / "figure4.pdf").exists()
    key = results(done, ["image_key"])["image_key"][0].as_py()
    code, said, _ = barrage("show", done, key, "-o", tmp_path / "story.png")
    assert code == 0 and said.split(": ")[1].strip() == f"{key} in net-none-pgd, net-bart2-pgd"
    with Image.open(tmp_path / "story.png") as whole:
        height = whole.height
    assert barrage("show", done, key, "-o", tmp_path / "story.png", "--cell", "net-bart2-pgd")[0] == 0
    with Image.open(tmp_path / "story.png") as part:
        one = part.height
        assert 0.4 * height < one < 0.8 * height
    assert barrage("show", done, key, "-o", tmp_path / "story.png", "--cell", "net-bart2-pgd", "--draws", "99")[0] == 0
    with Image.open(tmp_path / "story.png") as part:
        assert part.height == pytest.approx(one * 5 / 2, rel=0.02), "a line of the image, and one for each of the four draws"
    assert barrage("show", done, key, "-o", tmp_path / "story.png", "--draws", "0")[0] == 2


def test_bad_input_is_one_line(barrage, done, half, tmp_path):
    def said(*arguments):
        code, _, text = barrage(*arguments)
        assert code == 2 and len(text.strip().splitlines()) == 1
        return text

    assert "holds no campaign.yaml" in said("report", tmp_path, "-o", tmp_path / "a.html")
    assert f"-o {tmp_path} is a folder" in said("report", half, "-o", tmp_path)
    assert "holds no image nobody: expected a key of its rows, such as" in said("show", done, "nobody")
    assert "was not attacked: bad_image, truncated" in said("show", half, "image-00000065")
    assert "can not be read" in said("show", half, "image-00000000", "-o", tmp_path / "b.png")
    assert not list(tmp_path.iterdir()), "nothing was touched"


def empty(folder):
    shutil.rmtree(folder / "results")


def of_another_program(folder):
    (folder / "campaign.yaml").write_text("campaign: {name: x}\n")


def cut_short(folder):
    (folder / "campaign.yaml").write_bytes((folder / "campaign.yaml").read_bytes()[:300] + b"\n  [")


def half_written(folder):
    name = next(folder.glob("results/*.parquet"))
    name.write_bytes(name.read_bytes()[:-100])


def of_another_version(folder):
    name = next(folder.glob("results/*.parquet"))
    pq.write_table(pq.read_table(name, partitioning=None).drop_columns(["image_key", "status", "adv_correct"]), name)


SPOILED = {
    empty: "holds no rows yet: give the folder that `barrage run` wrote to, or wait for a first unit",
    half_written: "is no whole Parquet file (.*): remove it, and run the campaign again",
    of_another_version: "lacks the column .*, which format 2 has: another program wrote it; restore it",
    of_another_program: "campaign.yaml is damaged or of another program (.*): restore it",
    cut_short: "campaign.yaml is damaged or of another program (.*): restore it",
}


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_store_that_is_none_or_half_written_is_one_line_for_every_reader(barrage, half, tmp_path, spoil):
    folder = tmp_path / "store"
    shutil.copytree(half, folder)
    spoil(folder)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    readers = [("table",), ("report", "-o", tmp_path / "a.html"), ("report", "--figures", tmp_path / "figures"),
               ("show", "image-00000000", "-o", tmp_path / "b.png")]  # fmt: skip
    rows_alone = spoil in (of_another_program, cut_short)  # the campaign is not asked for figures
    for command, *rest in (reader for reader in readers if not (rows_alone and "--figures" in reader)):
        code, out, text = barrage(command, folder, *rest)
        assert code == 2 and not out and len(text.strip().splitlines()) == 1 and re.search(SPOILED[spoil], text), (
            command,
            text,
        )
    if not rows_alone:
        for read in (analysis.scores, analysis.table, analysis.results):
            with pytest.raises(BadInput, match=SPOILED[spoil]):
                read(str(folder))
    assert sorted(path.name for path in tmp_path.rglob("*")) == before, "nothing was touched"


@pytest.mark.parametrize("lists", [True, False], ids=["with its lists", "rows only"])
def test_a_compacted_store_is_read_from_its_campaign_units_and_rows(barrage, visit, done, tmp_path, lists):
    """As results are kept beside a paper: no examples, no checkpoints, no shards at hand."""
    whole, folder = tmp_path / "whole", tmp_path / "kept"
    shutil.copytree(done, whole)
    for cell in opened(str(whole)).cells:
        release01.compacted(whole, cell)
    for part in ("results", "units", *(["compacted"] if lists else [])):
        shutil.copytree(whole / part, folder / part)
    content = yaml.safe_load((whole / "campaign.yaml").read_text().replace(str(Path(done).parent), "/gone"))
    content = {key: value for key, value in content.items() if key not in release01.STAMP}
    (folder / "campaign.yaml").write_text(yaml.safe_dump(content))
    for some in (analysis.table, analysis.scores):
        frame, wanted = (some(str(store)).drop(columns="store") for store in (folder, done))
        keys = ["cell", "rule"] if some is analysis.table else ["cell", "image_key"]
        frame, wanted = (f.astype(dict.fromkeys(keys, str)).sort_values(keys, ignore_index=True) for f in (frame, wanted))
        pd.testing.assert_frame_equal(frame, wanted, check_categorical=False)
    told = [barrage("table", store, "--format", "csv") for store in (folder, done)]
    assert [code for code, _, _ in told] == [0, 0]
    pd.testing.assert_frame_equal(*(pd.read_csv(io.StringIO(out)) for _, out, _ in told))
    assert (
        barrage("report", folder, "--figures", tmp_path / "figures")[0] == 0 and (tmp_path / "figures" / "figure4.pdf").exists()
    )
    view = visit(str(folder))
    assert "Complete: every planned unit is committed." in view.inner_text("header")
    said = view.inner_text("#examples .state")
    assert said.startswith("No examples: shard") and "can not be read" in said and not shown(view, "#examples img")
    assert len(shown(view, "#table tbody tr")) == 2
    code, _, text = barrage("show", folder, "image0", "-o", tmp_path / "a.png")
    assert code == 2 and "without it there are no clean images" in text


def test_examples_that_were_not_kept_are_said_to_be_away(done, tmp_path):
    shutil.copytree(done, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "adversarial")
    assert "No examples: the store&#39;s folder adversarial/ is not here" in page(gather(str(tmp_path / "store")))


def test_a_missing_package_is_named(barrage, half, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pipeline.reports.figures", None)
    real = __import__("builtins").__import__

    def without(name, *rest, **more):
        if name == "pipeline.reports.figures":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *rest, **more)

    monkeypatch.setattr("builtins.__import__", without)
    code, _, text = barrage("report", half, "--figures", tmp_path / "figures")
    assert code == 2 and "this command needs matplotlib, which is not installed: pip install 'barrage[report]'" in text
    assert not list(Path(tmp_path).iterdir())
