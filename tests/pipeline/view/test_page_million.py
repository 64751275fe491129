"""A million rows: the page asks for those in sight, and never holds many."""

import pytest

from tests.support.page.opened import opened, ready
from tests.support.page.server import Pretended, served
from tests.support.page.store import Synthetic

ROWS = 1_000_000


class Million(Pretended):
    """Answer with rows that are made from their number; a filter leaves a quarter of them."""

    def rows(self, asked):
        self.asked.append(asked)
        total = ROWS // 4 if asked["where"] else ROWS
        first = asked.get("offset", 0)
        places = range(first, min(total, first + asked["limit"]))
        columns = asked["columns"]
        texts = {"image_key", "cell", "shard", "label_name", "outcome", "adv_class_name"}
        return {
            "total": total,
            "columns": columns,
            "rows": [[f"{name}-{i}" if name in texts else i / ROWS for name in columns] for i in places],
        }


@pytest.fixture
def million():
    made = Million([Synthetic(images=12)])
    made.changes = {"pictures": False, "pictures_missing": "none are made"}
    return made


def test_scrolling_to_the_end_asks_for_a_few_blocks(browser, million):
    with served(million) as address, opened(browser, address + "#/table") as (page, seen):
        assert page.inner_text("output") == "1,000,000 rows"
        for share in (0.25, 0.5, 1):
            page.evaluate(
                "share => { const at = document.querySelector('.ag-grid-viewport'); at.scrollTop = share * at.scrollHeight; }",
                share,
            )
            page.wait_for_timeout(300)
        page.wait_for_selector(f"text=image_key-{ROWS - 1}")
        ready(page)
        assert page.locator(".ag-row").count() < 120
        assert sum(asked["limit"] for asked in million.asked) <= 3000, "rows that nobody sees were asked for"
        assert max(asked["offset"] for asked in million.asked) >= ROWS - 200 and not seen


def test_a_filter_asks_for_its_first_rows_alone(browser, million):
    with served(million) as address, opened(browser, address + "#/images?cell=tiny-bart5-pgd") as (page, seen):
        million.asked.clear()
        page.click("button:has-text('broken')")
        page.wait_for_function("() => location.hash.includes('outcome=broken')")
        ready(page)
        wanted = ["outcome", "=", "broken"]
        assert million.asked and all(wanted in asked["where"] for asked in million.asked if "shard" not in str(asked["where"]))
        assert sum(min(asked["limit"], 1000) for asked in million.asked if wanted in asked["where"]) <= 400
        assert page.inner_text("output") == "250,000 image attacks" and not seen
