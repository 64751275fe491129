"""What a view shows belongs to what is chosen: answers to their question, links to their cell, names to their points."""

import pytest

from tests.support.page.opened import PHONE, opened, ready
from tests.support.page.server import Pretended, served
from tests.support.page.store import Synthetic


@pytest.fixture(scope="module")
def address():
    with served(Pretended([Synthetic(images=60, done=0.8)])) as found:
        yield found


HELD = {  # what is asked anew, how, and what of the old answer may not stay
    "errors.json": ("#/errors?cell=tiny-bart5-pgd", ".matrix", lambda page: choose(page, "Decision rule", "persistent")),
    "compare.json": ("#/compare?second=0", ".boxes", lambda page: choose(page, "Accuracy", "5")),
    "draws.json": ("#/images?cell=tiny-bart5-pgd", ".draw", lambda page: page.keyboard.press("j")),
    "image.json": ("#/images?cell=tiny-bart5-pgd", ".votes", lambda page: page.keyboard.press("j")),
}


def choose(page, label, value):
    page.select_option(f"label:has-text('{label}') select", value)


@pytest.mark.parametrize("question", list(HELD))
def test_no_answer_is_shown_for_another_question(browser, address, question):
    fragment, part, change = HELD[question]
    with opened(browser, address + fragment) as (page, seen):
        assert page.query_selector(part)
        held = []
        page.route(f"**/api/{question}*", lambda route: held.append(route))
        change(page)
        page.wait_for_selector(part, state="detached", timeout=10_000)
        for _ in range(200):  # a request may be heard of after the page has changed
            if held:
                break
            page.wait_for_timeout(50)
        for route in held:
            route.continue_()
        page.unroute(f"**/api/{question}*")
        ready(page)
        page.wait_for_selector(part)
        assert held and not seen


@pytest.mark.parametrize("cell", ["tiny-none-pgd", "tiny-bart8-pgd"])
def test_images_of_errors_open_in_the_cell_that_was_asked(browser, address, cell):
    with opened(browser, address + f"#/errors?cell={cell}") as (page, seen):
        page.click(".keys-list a >> nth=0")
        page.wait_for_selector(".detail")
        assert page.inner_text(".detail .dim >> nth=0") == f"in {cell}" and not seen


def test_stores_with_other_cells_are_not_put_side_by_side_unasked(browser):
    other = Pretended([Synthetic(images=24), Synthetic(id="1", name="others", images=24)])
    other.contents[1] = other.contents[1] | {
        "cells": [cell | {"cell": f"other-{cell['cell']}"} for cell in other.contents[1]["cells"]]
    }
    with served(other) as address, opened(browser, address + "#/compare") as (page, seen):
        sides = page.evaluate("[...document.querySelectorAll('fieldset select')].map((node) => node.value)")
        assert sides[0] == sides[2] == "0" and sides[1] != sides[3] and not seen


class Near(Pretended):
    """Two sides whose costs are next to each other."""

    costs = (187.0, 184.0)

    def get(self, path, query):
        found = super().get(path, query)
        if path == "api/compare.json":
            found["first"]["cost"], found["second"]["cost"] = self.costs
        return found


@pytest.mark.parametrize("costs", [(187.0, 184.0), (184.0, 187.0)])
def test_the_names_of_two_costs_stand_at_their_points(browser, costs):
    near = Near([Synthetic(images=24)])
    near.costs = costs
    with served(near) as address, opened(browser, address + "#/compare") as (page, seen):
        places = page.evaluate("""() => {
            const middle = (node) => { const box = node.getBoundingClientRect(); return box.left + box.width / 2; };
            const dot = (colour) => middle(document.querySelector(`.plot circle[fill="var(--${colour})"]`));
            const word = (name) => middle([...document.querySelectorAll('.plot text')].find((one) => one.textContent === name));
            return [dot('c0') - dot('c1'), word('first') - word('second')]; }""")
        assert places[0] * places[1] > 0 and not seen, places


def test_headings_fit_and_no_row_is_tall_on_a_phone(browser):
    plain = Pretended([Synthetic(images=24)])
    plain.changes = {"classes": None}
    with served(plain) as address:
        with opened(browser, address + "#/table") as (page, seen):
            out = """[...document.querySelectorAll('.ag-header-cell')].filter((cell) => {
                const text = cell.querySelector('.ag-header-cell-text').getBoundingClientRect();
                const box = cell.getBoundingClientRect();
                return text.top < box.top || text.bottom > box.bottom; }).map((cell) => cell.innerText)"""
            page.wait_for_function(f"() => {out}.length === 0", timeout=5_000)
            assert "attacked class number" in page.inner_text(".ag-header").replace("\n", " ") and not seen
        with opened(browser, address, PHONE) as (page, seen):
            heights = page.evaluate(
                "[...document.querySelectorAll('tbody tr')].map((row) => row.getBoundingClientRect().height)"
            )
            assert heights and max(heights) < 130 and not seen, heights
            attacked = "#cells tbody td:nth-of-type(2) .rate b"  # what one opens the page for
            boxes = [node.bounding_box() for node in page.query_selector_all(attacked)]
            assert boxes and all(box["x"] + box["width"] < PHONE[0] for box in boxes), boxes
            assert page.inner_text("#cells thead th >> nth=2") == "attacked top-1"


def test_nothing_is_said_of_a_store_that_is_not_read_yet(browser):
    pretended = Pretended([Synthetic(images=24)])
    pretended.changes = {"cells": [], "loading": 0.0}
    with served(pretended) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("main [role=status]")
        assert page.inner_text("main") == "reading …"
        pretended.changes, pretended.revision = {"cells": [], "loading": 0.0, "problem": "it is not here"}, 2
        page.wait_for_selector("[role=alert]:has-text('it is not here')", timeout=10_000)
        context.close()
