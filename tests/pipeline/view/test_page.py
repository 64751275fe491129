"""Every view in headless Chromium, at both widths and in both themes: no error, nothing from elsewhere, accessible."""

import pytest

from tests.support.page.opened import DESKTOP, PHONE, opened, violations
from tests.support.page.server import Pretended, served
from tests.support.page.store import Synthetic

VIEWS = {
    "overview": ("#/overview", "Is the attack strong enough?"),
    "table": ("#/table?where=%5B%5B%22outcome%22%2C%22%3D%22%2C%22broken%22%5D%5D", "Add filter"),
    "groups": ("#/table?group=%5B%22cell%22%5D", "12 groups"),
    "curves": ("#/curves", "transforms in a barrage (k)"),
    "images": ("#/images?cell=tiny-bart5-pgd", "Under every attack"),
    "compare": ("#/compare?first_cell=tiny-bart5-pgd&second_cell=tiny-bart5-pgd&box=first_only", "only the first right"),
    "errors": ("#/errors?cell=tiny-bart5-pgd", "Which transforms saved the image"),
}
"""{view: (its address, a text that it shows)}."""


@pytest.fixture(scope="module")
def address():
    stores = [Synthetic(done=0.75, images=120), Synthetic(id="1", name="shapes-again", images=120, harder=0.1)]
    with served(Pretended(stores)) as found:
        yield found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("view", list(VIEWS))
def test_a_view_is_whole_and_accessible(browser, address, view, size, theme):
    fragment, text = VIEWS[view]
    with opened(browser, address + fragment, size, theme) as (page, seen):
        assert text in page.inner_text("main")
        assert not (found := violations(page)), "\n".join(found)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
        broken = page.evaluate(
            "[...document.images].filter((image) => image.complete && !image.naturalWidth).map((image) => image.src)"
        )
        assert not broken and not seen, "\n".join([*broken, *seen])
