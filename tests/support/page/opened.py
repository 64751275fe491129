"""Open the page in a browser that notes what must never be: errors in the console, failed scripts, requests to elsewhere."""

from contextlib import contextmanager
from pathlib import Path

AXE = (Path(__file__).parent / "axe.js").read_text()

DESKTOP, PHONE = (1280, 860), (390, 780)

READY = """() => {
  const main = document.querySelector('main');
  if (!main || view.waiting) return false;
  if ([...main.querySelectorAll('[role=status]')].some((node) => node.textContent === 'reading …')) return false;
  const grids = [...main.querySelectorAll('.grid')], plots = [...main.querySelectorAll('.plot')];
  return grids.every((grid) => grid.dataset.rows === '0' || grid.querySelector('.ag-cell-value:not(:empty)'))
    && grids.every((grid) => grid.dataset.rows) && plots.every((plot) => plot.querySelector('svg'))
    && [...main.querySelectorAll('img.large')].every((image) => image.complete);
}"""
"""Whether everything that a view asked for is there."""


class Seen(list):
    """What went wrong on a page, one line each."""


@contextmanager
def opened(browser, address, size=DESKTOP, theme="light", **options):
    """Open an address and wait until all is shown; gives (page, what went wrong). `address` must be of the page itself."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme, **options)
    page, seen = context.new_page(), Seen()
    own = address.partition("#")[0].rpartition("/")[0] + "/"

    def console(message):
        if message.type in ("error", "warning"):
            seen.append(f"console: {message.text[:500]}")

    def request(asked):
        if not asked.url.startswith((own, "data:", "blob:")):
            seen.append(f"left the page: {asked.url[:200]}")

    page.on("console", console)
    page.on("pageerror", lambda error: seen.append(f"script: {error}"))
    page.on("request", request)
    try:
        page.goto(address)
        ready(page)
        yield page, seen
    finally:
        context.close()


def ready(page):
    """Wait until everything that the view asked for is there."""
    page.wait_for_function(READY, timeout=30_000)


def violations(page):
    """What axe-core finds against WCAG 2.1 A and AA, one line for each element."""
    page.evaluate(AXE)
    rules = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations']}"
    found = page.evaluate(f"async () => (await axe.run(document, {rules})).violations")
    return [f"{one['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}" for one in found for node in one["nodes"]]
