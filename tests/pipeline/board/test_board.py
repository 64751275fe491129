"""The board: figures against the table and the rows, files that were changed, ranks, hostile texts, the commands, the page."""

import copy
import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import permutations
from pathlib import Path

import pytest

from pipeline import analysis, escaped
from pipeline.board import encode, files, filled, html, ranked, read, refusals
from pipeline.board.pages import HEAD, markdown
from pipeline.board.ranking import standard
from pipeline.config.campaign import load
from pipeline.errors import BadInput
from pipeline.store import formats
from pipeline.store.rows import results
from tests.support.page.visited import visiting
from tests.support.source.pages import ROOT
from tests.support.stores import boarded

RULES = ("single", "vote", "mean", "persistent")


@pytest.fixture
def entry(board_store, entry_of):
    return entry_of(board_store())


def rated(entry, name, value, half=0.05):
    """The entry under another name, with another rate under the standard attack."""
    content = entry.model_dump(mode="json") | {"name": name}
    single = content["attacks"][0]["rules"]["single"]["attacked"]
    single |= {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}
    return type(entry).model_validate(content)


def test_every_figure_is_that_of_the_table(board_store, entry_of, barrage, tmp_path):
    entry = entry_of(board_store(images=240, failed=2))
    code, out, _ = barrage("table", tmp_path / "store", "--format", "json")
    lines = {(line["cell"], line["rule"]): line for line in json.loads(out)}
    assert code == 0 and set(lines) == {(attack.cell, rule) for attack in entry.attacks for rule in RULES}
    for attack in entry.attacks:
        for rule in RULES:
            line, sides = lines[attack.cell, rule], attack.rules[rule]
            for name, found in (("clean_top1", sides.clean), ("adv_top1", sides.attacked)):
                assert [found.value, found.low, found.high] == [line[f"{name}{end}"] for end in ("", "_low", "_high")]
        assert (attack.images, attack.failed, attack.draw_gradients, attack.device_seconds) == tuple(
            line[name] for name in ("images", "failed", "draw_gradients", "seconds")
        )


def test_counts_are_those_of_the_rows(entry, tmp_path):
    rows = results(str(tmp_path / "store")).to_pylist()
    for attack in entry.attacks:
        for side, found in (("clean", attack.rules["single"].clean), ("adv", attack.rules["single"].attacked)):
            counts = Counter(f"{row[f'{side}_correct']}/20" for row in rows if row["cell"] == attack.cell)
            assert found.shares == counts and len(counts) > 5
        whole = attack.rules["single"].clean.shares.get("20/20", 0)
        assert attack.rules["persistent"].clean.shares.get("1/1", 0) == whole


def test_the_worst_case_is_that_of_the_analysis(entry, tmp_path):
    (line,) = analysis.worst_case(analysis.scores(str(tmp_path / "store"))).to_dict("records")
    worst = entry.worst
    assert (worst.least.value, worst.least.low, worst.apart, worst.high) == (
        line["adv"], line["adv_low"], line["adv_apart"], line["adv_high"]
    )  # fmt: skip
    assert (
        worst.attacks == 2 and worst.least.images == 200 and worst.least.value < standard(entry).rules["single"].attacked.value
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data.replace(b'"0/1": 200', b'"0/1": 100'), "changed after it was written"),
        (lambda data: data.replace(b"A Lab", b"B Lab"), "changed after it was written"),
        (lambda data: re.sub(rb',\s*"sha256": "[0-9a-f]{64}"\s*}\s*$', b"}", data), "has no sha256"),
        (lambda data: data[:-20], "cannot be read as JSON"),
        (lambda data: b"[]", "has no sha256"),
        (lambda data: b"[" * 100_000, "cannot be read as JSON"),
        (lambda data: data + b" " * 200_000, "an entry at most 200000"),
        (lambda data: data.replace(b'"format": 2', b'"format": 99'), "has format 99"),
    ],
)
def test_a_file_that_was_changed_is_refused_in_one_line(change, text, entry, tmp_path):
    path = tmp_path / f"{entry.name}.json"
    path.write_bytes(encode(entry))
    assert read(path) == entry
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BadInput, match=text) as error:
        read(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("link", "javascript:alert(1)", "link"), ("link", "https://a.b/x) [y](z", "link"), ("by", "", "by"),
        ("by", "x" * 301, "by"), ("citation", None, "citation"),
    ],
)  # fmt: skip
def test_texts_that_make_no_link_are_refused(field, value, text, entry, tmp_path):
    content = entry.model_dump(mode="json")
    content["submission"][field] = value
    path = tmp_path / f"{entry.name}.json"
    path.write_bytes(formats.to_json(content))
    with pytest.raises(BadInput, match=f"submission.{text}"):
        read(path)


def test_ranks_are_the_places_that_intervals_allow(entry):
    rates = {"a": (0.50, 0.05), "b": (0.42, 0.04), "c": (0.30, 0.06), "d": (0.29, 0.02), "e": (0.1, 0.3)}
    entries = [rated(entry, name, *rate) for name, rate in rates.items()]
    (rows,) = ranked(reversed(entries)).values()
    assert [row.entry.name for row in rows] == list(rates)
    ends = {
        name: (standard(e).rules["single"].attacked.low, standard(e).rules["single"].attacked.high)
        for name, e in zip(rates, entries, strict=True)
    }
    orders = [
        order
        for order in permutations(rates)
        if not any(ends[order[j]][0] > ends[order[i]][1] for i in range(5) for j in range(i + 1, 5))
    ]
    for row in rows:
        places = {order.index(row.entry.name) + 1 for order in orders}
        assert (row.best, row.last) == (min(places), max(places))
    assert {row.rank for row in rows} > {"1 to 2"}


def test_only_entries_of_one_threat_are_ranked_together(entry):
    content = entry.model_dump(mode="json")
    others = [content | {"name": "x", "eps": 4 / 255}, content | {"name": "y", "norm": "l2"}]
    others.append(content | {"name": "z", "data": content["data"] | {"dataset": "CIFAR-10"}})
    found = ranked([entry, *map(type(entry).model_validate, others)])
    assert [len(rows) for rows in found.values()] == [1, 1, 1, 1]
    assert {str(threat) for threat in found} >= {
        "CIFAR-10, linf 8/255, 200 draw-gradients an image",
        "ImageNet, linf 4/255, 200 draw-gradients an image",
    }


HOSTILE = "<script>alert(1)</script>|`x`[a](javascript:b)\u202e\x1b[31m\n# <img src=x onerror=y>\" ' &amp; $x$"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.attributes = Counter(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def test_hostile_texts_stay_text(entry):
    content = entry.model_dump(mode="json")
    content["submission"] |= {"by": HOSTILE, "citation": HOSTILE}
    content["data"] |= {"dataset": HOSTILE, "shards": {HOSTILE: "0" * 64}}
    content["defense"] |= {"summary": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    content["model"] |= {"architecture": HOSTILE}
    content["checks"]["states"][HOSTILE] = "passed"
    content["origins"][0] |= {"commit": HOSTILE, "device": HOSTILE, "libraries": {HOSTILE: HOSTILE}}
    hostile = type(entry).model_validate(content)
    plain, page = Tags(html([entry])), html([hostile])
    found = Tags(page)
    assert found.found == plain.found | {"dd": found.found["dd"]} and found.attributes == plain.attributes
    assert not {"\u202e", "\x1b"} & set(page) and "&lt;script&gt;alert" in page
    table = [line for line in markdown([hostile]).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {len(HEAD) + 1} and len(table) == 3
    assert not re.search(r"(?<!\\)[<`]|\]\(javascript", markdown([hostile])) and "\x1b" not in markdown([hostile])


ODD = (None, True, -1, 0, 10**30, 1e308, "", "x" * 1000, "0/0", "9/1", [], {}, [[1]], {"a": {"b": [{"c": [[[1]]]}]}}, HOSTILE)


def places(content, place=()):
    """The place of every value of a JSON object."""
    if place:
        yield place
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in items:
        yield from places(value, (*place, name))


def test_no_value_of_a_file_ends_in_a_traceback(entry, tmp_path):
    """Every value replaced by an odd one, with the hash that then is right: refused in one line, or shown as text."""
    path, seen = tmp_path / f"{entry.name}.json", Counter()
    sound = entry.model_dump(mode="json")
    for number, place in enumerate(places(sound)):
        content = copy.deepcopy(sound)
        inner = content
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = ODD[number % len(ODD)]
        path.write_bytes(formats.to_json(content))
        try:
            found = read(path)
        except BadInput as error:
            assert "\n" not in escaped.line(error)
            seen["refused"] += 1
            continue
        reasons = list(refusals(found))
        seen["admitted" if not reasons else "not admitted"] += 1
        if not reasons:
            assert Tags(html([found])).found["script"] == 1 and markdown([found])
    assert min(seen.values()) > 5 and len(seen) == 3, seen


def test_a_page_keeps_what_is_around_its_tables(entry):
    page = "# Board\n\n<!-- board: written by barrage board build -->\nold\n<!-- end -->\n\nbelow\n"
    once = filled(page, [entry])
    assert once.startswith("# Board\n") and once.endswith("<!-- end -->\n\nbelow\n") and "old" not in once
    assert filled(once, [entry]) == once and "| 1 | barrage, k 5 |" in once
    with pytest.raises(BadInput, match="no line <!-- board"):
        filled("# Board", [entry])


def test_the_commands_add_check_and_build(board_store, barrage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    board_store(boarded.campaign((0, 5, 10)), failed=1, images=240)
    code, out, err = barrage("board", "add", "store", *boarded.SUBMITTED)
    files = sorted(path.name for path in Path("board/entries").iterdir())
    assert code == 0 and not err and len(files) == len(out.splitlines()) == 3
    _, table, _ = barrage("table", "store", "--format", "md", "--rule", "single")
    rates = re.findall(r"\| (resnet50-\w+-pgd-standard) \| single \| [^|]*\| ([^|]*) \| ([^|]*) \|", table)
    assert len(rates) == 3 and all(f"clean {clean}, under the standard attack {adv}" in out for _, clean, adv in rates)
    assert barrage("board", "check") == (0, "3 entries, all in order\n", "")
    Path("page.md").write_text("<!-- board: written by barrage board build -->\n<!-- end -->\n")
    code, out, err = barrage("board", "build", "site", "--page", "nowhere.md")
    assert code == 2 and "nowhere.md is no file" in err and not Path("site").exists(), "nothing is written before that"
    code, out, err = barrage("board", "build", "site", "--page", "page.md")
    assert code == 0 and out.split() == ["written:", "site/index.html", "written:", "page.md"]
    for _, clean, adv in rates:
        assert f"| {clean} | {adv} |" in Path("page.md").read_text()
    again = {name: (Path("board/entries") / name).read_bytes() for name in files}
    barrage("board", "add", "store", *boarded.SUBMITTED)
    assert {name: (Path("board/entries") / name).read_bytes() for name in files} == again


def test_the_commands_refuse_in_one_line(board_store, barrage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    board_store(boarded.campaign((0, 5), evaluation_draws=1))
    code, out, err = barrage("board", "add", "store", *boarded.SUBMITTED)
    assert code == 1 and len(out.splitlines()) == 1, "what is not random has one draw, and is entered"
    assert err.startswith("resnet50, bart5 refused: resnet50-bart5-pgd-standard: 1 evaluation draws") and err.count("\n") == 1
    for option, value, text in (("--link", "ftp://x", "--link ftp://x: expected"), ("--by", " ", "--by has 1 char")):
        options = list(boarded.SUBMITTED)
        options[options.index(option) + 1] = value
        code, _, err = barrage("board", "add", "store", *options)
        assert code == 2 and text in err and err.count("\n") == 1
    (path,) = Path("board/entries").iterdir()
    path.write_bytes(path.read_bytes().replace(b"A Lab", b"B Lab"))
    for expected, words in ((1, ("check",)), (2, ("build", "site"))):
        code, _, err = barrage("board", *words)
        assert code == expected and "was changed after it was written" in err and err.count("\n") == 1
    assert not Path("site").exists()
    code, _, err = barrage("board", "check", "--board", "nowhere")
    assert code == 2 and "nowhere is no board" in err


def test_another_cell_of_the_same_name_is_not_replaced(board_store, barrage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    board_store(boarded.campaign((0,)))
    board_store(boarded.campaign((0,), seed=1), name="other")
    assert barrage("board", "add", "store", *boarded.SUBMITTED)[0] == 0
    code, _, err = barrage("board", "add", "other", *boarded.SUBMITTED)
    assert code == 2 and "is the entry of another cell of that name" in err
    (path,) = Path("board/entries").iterdir()
    twin = read(path).model_copy(update={"name": "twin"})
    path.with_name("twin.json").write_bytes(encode(twin))
    code, out, err = barrage("board", "check")
    assert code == 1 and "an entry of the same cell on the same images" in err and out == "2 entries, 1 wrong\n"


def test_the_board_that_ships_is_in_order():
    entries = {path: read(path) for path in files(ROOT / "board")}
    assert not [f"{path}: {reason}" for path, entry in entries.items() for reason in refusals(entry)]
    page = (ROOT / "docs" / "board.md").read_text()
    assert page == filled(page, entries.values()), "run: barrage board build build/board"


def test_the_campaign_of_the_board_is_what_the_board_asks_for():
    campaign = load(ROOT / "campaigns" / "board-cifar10.yaml")
    cells = list(campaign.grid())
    assert campaign.data.limit >= 200 and campaign.evaluation_draws >= 20
    kinds = {cell.defense.kind for cell in cells}
    assert kinds == {
        "barrage",
        "gaussian",
        "resize_pad",
        "crop_ensemble",
        "bit_depth",
        "jpeg",
        "tv",
        "feature_noise",
        "dropout",
        "compose",
    }
    by_defense = {(cell.model_name, cell.defense_name): set() for cell in cells}
    for cell in cells:
        by_defense[cell.model_name, cell.defense_name].add(cell.attack.kind)
    assert all(found == {"standard", "pgd"} for found in by_defense.values()) and len(by_defense) == 14


@pytest.fixture
def visit(browser, entry, tmp_path):
    """Opens the page of a board of three entries; see `visiting`."""
    path = tmp_path / "index.html"
    path.write_text(html([rated(entry, name, value) for name, value in (("low", 0.1), ("high", 0.5), ("middle", 0.3))]))
    with visiting(browser) as opened:
        yield lambda width, scheme: opened(path, width, scheme)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_sorts_and_reads_in_a_browser(visit, width, scheme):
    view = visit(width, scheme)
    order = "() => [...document.querySelectorAll('tbody th a')].map((a) => a.hash.slice(1))"
    assert view.evaluate(order) == ["high", "middle", "low"]
    view.get_by_role("button", name="standard attack").press("Enter")
    assert view.evaluate(order) == ["high", "middle", "low"], "high numbers first"
    view.get_by_role("button", name="standard attack").press("Enter")
    assert view.evaluate(order) == ["low", "middle", "high"]
    head = view.get_by_role("columnheader", name="standard attack")
    assert head.get_attribute("aria-sort") == "ascending"
    assert view.locator("details[open]").count() == 0
    view.locator("tbody th a").first.click()
    assert view.locator("details[open]").count() == 1 and view.locator("details#low[open]").count() == 1
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth"), "only the table scrolls to the side"
    contrast = view.evaluate(CONTRAST)
    assert contrast and all(ratio >= 4.5 for _, ratio in contrast), contrast


CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 10.31475 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (text) => { const [r, g, b] = numbers(text).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  return ["h1", "p.dim", "thead button", "td", "td small", "tbody th a", "summary", "dt", "dd"].map((selector) => {
    let at = document.querySelector(selector);
    const ink = getComputedStyle(at).color;
    while (at && numbers(getComputedStyle(at).backgroundColor)[3] === 0) at = at.parentElement;
    const two = [light(ink), light(getComputedStyle(at || document.body).backgroundColor)].sort((a, b) => b - a);
    return [selector, (two[0] + 0.05) / (two[1] + 0.05)];
  });
}"""
"""The contrast of each kind of text with its ground, by WCAG 2."""
