"""The pages as a site: it builds without a warning, no link leads nowhere, it asks nobody for anything and reads on a phone."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.source.pages import ROOT

LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements that a browser fetches unasked."""


class Page(HTMLParser):
    """What a page of the site holds."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = {"", "__top"}, [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get(LOADED.get(tag)) and found.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(found[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    config = pytest.importorskip("mkdocs.config", reason="needs barrage[docs]")
    pytest.importorskip("material", reason="needs barrage[docs]")
    from mkdocs.commands.build import build

    folder = tmp_path_factory.mktemp("site")
    build(config.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_every_page_of_the_repository_is_there(site):
    for name in (
        "index",
        "cluster",
        "notebooks",
        "changelog",
        "contributing",
        "reporting",
        *(path.stem for path in (ROOT / "docs").glob("*.md")),
    ):
        assert (site / f"{name}.html").exists(), name
    assert "one photograph through a growing barrage" in (site / "index.html").read_text()
    assert not list(site.rglob("*.py"))


def test_every_link_leads_to_a_page_and_a_place_of_it(pages):
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            found = urlsplit(link)
            if found.scheme:
                assert found.scheme in ("https", "mailto"), f"{path.name} links to {link}"
                continue
            target = (path.parent / unquote(found.path)).resolve() if found.path else path
            assert target.is_file(), f"{path.name} links to {link}, which is not there"
            if target in pages:
                assert unquote(found.fragment) in pages[target].anchors, f"{path.name}: {link} names no place of that page"
                checked += 1
    assert checked > 500


def test_nothing_is_fetched_from_elsewhere(site, pages):
    assert sum(len(page.loaded) for page in pages.values()) > len(pages) > 5
    for path, page in pages.items():
        for source in page.loaded:
            assert not urlsplit(source).scheme and not source.startswith("//"), f"{path.name} fetches {source}"
            assert (path.parent / unquote(urlsplit(source).path)).is_file(), f"{path.name}: {source} is not there"
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert "url(http" not in sheet.read_text() and "@import" not in sheet.read_text(), sheet


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_reads_from_a_folder_in_a_browser(site, browser, width, scheme):
    asked, said = [], []
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    for name in ("index", "campaign-file", "attacks", "commands", "source/campaigns/demo.yaml"):
        tab.goto((site / f"{name}.html").as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the window"
        assert tab.locator("h1").first.is_visible()
    tab.goto((site / "index.html").as_uri())
    if width < 600:
        tab.locator("label.md-header__button[for=__search]").click()
    tab.locator("input.md-search__input").click()
    tab.keyboard.type("draw-gradient")
    tab.locator(".md-search-result__link").first.wait_for()
    assert "concepts.html" in " ".join(tab.locator(".md-search-result__link").evaluate_all("all => all.map(a => a.href)"))
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked) and not said
    tab.close()
