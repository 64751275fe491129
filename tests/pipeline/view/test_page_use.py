"""What one does with the page: keys, links that hold the whole state, a store that grows, texts that are hostile."""

import re

import pytest

from tests.support.page.opened import PHONE, opened, ready
from tests.support.page.server import Pretended, served
from tests.support.page.store import Synthetic

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\u202e\x1b[31m{{7*7}}'
HUGE = HOSTILE + "A" * 10_000_000


@pytest.fixture(scope="module")
def pretended():
    return Pretended([Synthetic(images=60, done=0.8), Synthetic(id="1", name="other-images", images=60, seed=2)])


@pytest.fixture(scope="module")
def address(pretended):
    with served(pretended) as found:
        yield found


def title(page):
    return page.inner_text(".detail h2")


def test_keys_go_through_the_images(browser, address):
    with opened(browser, address + "#/images?cell=tiny-bart5-pgd") as (page, seen):
        names = [title(page)]
        for key in ("j", "ArrowDown", "ArrowRight", "k", "ArrowLeft", "ArrowUp"):
            before = page.evaluate("location.hash")
            page.keyboard.press(key)
            page.wait_for_function("before => location.hash !== before", arg=before)
            ready(page)
            page.wait_for_function(
                "() => decodeURIComponent(location.hash).includes('key=' + document.querySelector('.detail h2').textContent)"
            )
            names.append(title(page))
        assert len(set(names[:4])) == 4 and names[4:] == [names[2], names[1], names[0]]
        page.keyboard.press("]")
        page.wait_for_function("() => document.querySelector('.detail .dim').textContent === 'in tiny-bart5-eot-pgd'")
        page.keyboard.press("[")
        page.wait_for_function("() => document.querySelector('.detail .dim').textContent === 'in tiny-bart5-pgd'")
        assert not seen


def test_no_key_is_lost_however_fast_they_come(browser, address):
    with opened(browser, address + "#/images?cell=tiny-bart5-pgd") as (page, seen):
        keys = "[...'jjjjkjj']"
        page.evaluate(
            f"{keys}.forEach((key) => document.body.dispatchEvent(new KeyboardEvent('keydown', {{key, bubbles: true}})))"
        )
        page.wait_for_function("() => location.hash.includes('at=5')")
        ready(page)
        page.wait_for_function(
            "() => decodeURIComponent(location.hash).includes('key=' + document.querySelector('.detail h2').textContent)"
        )
        fast = title(page)
        assert not seen
    with opened(browser, address + "#/images?cell=tiny-bart5-pgd&at=5") as (page, seen):
        assert fast == title(page) and not seen


def test_keys_search_and_help(browser, address):
    with opened(browser, address + "#/images?cell=tiny-bart5-pgd") as (page, seen):
        page.keyboard.press("/")
        page.keyboard.type("ring")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('output').textContent && location.hash.includes('search=ring')")
        ready(page)
        page.wait_for_function("() => document.querySelector('.detail h2').textContent.startsWith('ring')")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement === document.body"), "Esc leaves the field"
        page.keyboard.press("?")
        page.wait_for_function(
            "() => document.querySelector('dialog').open && document.querySelector('dialog').contains(document.activeElement)"
        )
        page.keyboard.press("j")  # keys of the page rest while the dialog is open
        page.keyboard.press("Escape")
        page.wait_for_function("() => !document.querySelector('dialog').open")
        page.keyboard.press("1")
        page.wait_for_function("() => location.hash.startsWith('#/overview')")
        assert not seen


def test_every_control_is_reached_and_seen_by_tab(browser, address):
    with opened(browser, address + "#/table") as (page, seen):
        reached = []
        for _ in range(24):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("""() => { 
                const at = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(at);
                const outlined = outlineStyle !== 'none' && parseFloat(outlineWidth) > 0;
                return [at.tagName, at.textContent.slice(0, 20), outlined || at.closest('.grid') !== null]; }""")
            )
        names = [name for name, _, _ in reached]
        assert reached[0][1] == "Skip to the view" and {"SELECT", "SUMMARY", "A", "BUTTON", "INPUT"} <= set(names)
        assert all(outlined for _, _, outlined in reached), [one for one in reached if not one[2]]
        assert not seen


def test_a_grid_row_opens_by_enter(browser, address):
    with opened(browser, address + "#/table") as (page, seen):
        page.click(".ag-row[row-index='3'] .ag-cell[col-id='label_name']", modifiers=[], position={"x": 3, "y": 3})
        page.wait_for_function("() => location.hash.startsWith('#/images')")
        page.go_back()
        ready(page)
        page.focus(".ag-row[row-index='2'] .ag-cell[col-id='image_key']")
        wanted = page.inner_text(".ag-row[row-index='2'] .ag-cell[col-id='image_key']")
        page.keyboard.press("Enter")
        page.wait_for_function("() => location.hash.startsWith('#/images')")
        ready(page)
        assert title(page) == wanted and not seen


def shown(page):
    ready(page)
    controls = """[...document.querySelectorAll('select, input')].filter((node) => !node.closest('.adder'))
        .map((node) => node.type === 'checkbox' ? node.checked : node.value)"""
    rows = """[...document.querySelectorAll('.ag-row')].map((row) => [Number(row.getAttribute('row-index')), row.innerText])
        .sort((a, b) => a[0] - b[0]).slice(0, 12)"""
    found = page.evaluate(controls), page.evaluate(rows)
    page.evaluate("document.querySelectorAll('main .grid, main .adder').forEach((node) => (node.style.visibility = 'hidden'))")
    text = page.evaluate("document.querySelector('main').innerText")
    page.evaluate("document.querySelectorAll('main .grid, main .adder').forEach((node) => (node.style.visibility = ''))")
    return *found, re.sub(r"\s+", " ", text)


def use_table(page):
    page.select_option("label:has-text('Decision rule') select", "persistent")
    page.select_option("label:has-text('Filter') select", "adv")
    page.select_option("label:has-text('how') select", "<=")
    page.fill("label:has-text('value') input", "50")
    page.click("text=Add filter")
    page.click(".ag-header-cell[col-id='l2']")
    page.click("summary:has-text('Columns')")
    page.check("label.tick:has-text('unit')")
    page.uncheck("label.tick:has-text('shard')")
    page.click("summary:has-text('Columns')")


def use_groups(page):
    page.select_option("label:has-text('Group by') select", "cell")
    page.select_option("label:has-text('and by') select", "outcome")
    page.wait_for_selector(".ag-header-cell[col-id='images']")
    page.click(".ag-header-cell[col-id='images']")


def use_images(page):
    page.click("button:has-text('broken')")
    page.select_option("label:has-text('Order') select", "l2 desc")
    page.get_by_role("combobox", name="Class", exact=True).select_option("2")
    ready(page)
    page.keyboard.press("j")
    page.keyboard.press("j")


def use_curves(page):
    page.select_option("label:has-text('Against') select", "draw_gradients")
    page.uncheck("label.tick:has-text('clean too')")
    page.click(".legend button:has-text('bart3')")


def use_compare(page):
    page.select_option("fieldset:has-text('Second') label:has-text('Store') select", "0")
    page.select_option("fieldset:has-text('First') label:has-text('Cell') select", "tiny-bart8-pgd")
    page.wait_for_selector(".boxes button")
    page.click(".boxes button >> nth=1")


def use_errors(page):
    page.select_option("label:has-text('Cell') select", "tiny-bart8-aggmo")
    page.select_option("label:has-text('Accuracy') select", "5")


USES = {
    "table": use_table,
    "groups": use_groups,
    "images": use_images,
    "curves": use_curves,
    "compare": use_compare,
    "errors": use_errors,
}


@pytest.mark.parametrize("use", list(USES))
def test_a_link_brings_back_the_whole_state(browser, address, use):
    with opened(browser, address + f"#/{'table' if use == 'groups' else use}") as (page, seen):
        before = shown(page)
        USES[use](page)
        page.wait_for_timeout(600)
        state, link = shown(page), page.url
        assert state != before and not seen
    with opened(browser, link) as (page, seen):
        page.wait_for_timeout(300)
        assert shown(page) == state and not seen


def test_a_click_on_a_group_shows_its_rows_and_back_returns(browser, address):
    with opened(browser, address + "#/table?group=%5B%22outcome%22%5D") as (page, seen):
        count = page.inner_text(".ag-row[row-index='0'] .ag-cell[col-id='images']")
        page.click(".ag-row[row-index='0'] .ag-cell[col-id='outcome']")
        page.wait_for_function("() => document.querySelector('output').textContent.endsWith('rows')")
        assert page.inner_text("output") == f"{count} rows" and "outcome is broken" in page.inner_text(".chips")
        page.go_back()
        page.wait_for_function("() => document.querySelector('output').textContent.includes('groups')")
        assert not seen


def test_other_images_are_not_compared(browser, address):
    with opened(browser, address + "#/compare?first_cell=tiny-bart5-pgd") as (page, _):
        assert "other images under the same keys" in page.inner_text("[role=alert]") and page.query_selector(".boxes") is None


def test_a_store_that_grows_is_followed_and_a_lost_server_is_reported(browser):
    growing = Pretended([Synthetic(images=24)])
    with served(growing) as address, opened(browser, address) as (page, seen):
        growing.changes, growing.revision = {"alarms": ["tiny-none-pgd: no gradient in 24 of 24 images"], "complete": False}, 2
        page.wait_for_selector("text=no gradient in 24 of 24 images", timeout=10_000)
        growing.changes, growing.revision = {"problem": "stores/shapes is gone: nothing is there any more"}, 3
        page.wait_for_selector("[role=alert]:has-text('is gone')", timeout=10_000)
        assert not seen
        page.route("**/api/**", lambda route: route.abort())
        page.wait_for_selector("text=the server does not answer", timeout=10_000)
        assert "What was read last is shown" in page.inner_text("main")
        page.unroute("**/api/**")
        page.wait_for_function("() => !document.body.innerText.includes('the server does not answer')", timeout=10_000)


@pytest.mark.parametrize(
    "fragment",
    [
        "#/overview",
        "#/table",
        "#/images?cell=tiny-bart5-pgd",
        "#/compare?first_cell=tiny-bart5-pgd",
        "#/errors?cell=tiny-bart5-pgd",
    ],
)
def test_hostile_texts_stay_texts(browser, fragment):
    store = Synthetic(images=24, hostile=HOSTILE, done=0.9)
    hostile = Pretended([store])
    huge = {"alarms": [HUGE], "notes": [HUGE], "place": HUGE, "problem": HUGE, "checks": [],
            "classes": [HUGE, *store.content["classes"][1:]],
            "parked": [{"unit": HUGE, "cell": HUGE, "tries": 3, "error": HUGE, "traceback": HUGE}]}  # fmt: skip
    hostile.changes = huge
    with served(hostile) as address, opened(browser, address + fragment, PHONE) as (page, seen):
        text = page.inner_text("body")
        assert page.evaluate(
            "window.hit === undefined && document.querySelectorAll('main script, [src=x], [onerror]').length === 0"
        )
        assert "<img src=x" in text and "\\u202e" in text and "\\x1b" in text, "hostile texts are shown as they are"
        assert "\u202e" not in text and "\x1b" not in text and "A" * 30_000 not in text and len(text) < 200_000
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a long text widens the page"
        assert not seen


@pytest.mark.parametrize(
    "fragment",
    [
        "#/nothing",
        "#/images?store=99&shard=no&key=no",
        "#/table?where=%7B&sort=x&group=%5B3%5D",
        "#/table?columns=%5B%22%3Cb%3E%22%5D",
        "#/errors?cell=%3Cb%3E&top=9",
    ],
)
def test_a_link_that_is_wrong_breaks_nothing(browser, address, fragment):
    context = browser.new_context()
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address + fragment)
    page.wait_for_selector("main :is(.tiles, .empty, .state, .grid, section)")
    assert not errors and len(page.inner_text("main")) > 20
    context.close()
