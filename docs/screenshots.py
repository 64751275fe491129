"""Take the pictures of docs/view.md: the viewer's page in headless Chromium, on a synthetic store with generated images.

    python -m docs.screenshots          # writes docs/img/view-*.png

Needs Chromium and playwright. The rows come from a fixed seed, so the pictures change only when the page does.
"""

import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.page.opened import opened
from tests.support.page.server import Pretended, served
from tests.support.page.store import Synthetic

FOLDER = Path(__file__).parent / "img"

_HARD = "store=0&first_cell=tiny-bart5-pgd&second=0&second_cell=tiny-bart5-eot-pgd"

SHOTS = {
    "view-overview": ("#/overview", (1200, 900), "light"),
    "view-table": ("#/table?group=%5B%22cell%22%5D&sort=%5B%5B%22adv%22%2C%22desc%22%5D%5D", (1200, 560), "light"),
    "view-images": ("#/images?cell=tiny-bart8-eot-pgd&outcome=broken&sort=adv+asc&at=8", (1200, 1000), "dark"),
    "view-compare": (f"#/compare?{_HARD}&box=first_only", (1200, 760), "light"),
    "view-phone": ("#/images?cell=tiny-bart5-pgd&outcome=survived", (390, 800), "dark"),
}
"""{name of the picture: (address of the page, size in pixels, theme)}."""


def taken(browser: Any, folder: Path) -> None:
    """Take all pictures of SHOTS into a folder."""
    stores = [Synthetic(name="shapes", done=0.8, images=240)]
    with served(Pretended(stores)) as address:
        for name, (fragment, size, theme) in SHOTS.items():
            with opened(browser, address + fragment, size, theme, device_scale_factor=1.5, reduced_motion="reduce") as (
                page,
                seen,
            ):
                if seen:
                    raise SystemExit(f"{name}: {seen[0]}")
                page.wait_for_function(
                    "() => [...document.images].every((one) => one.complete || one.getBoundingClientRect().top > innerHeight)"
                )
                _write(page.screenshot(), folder / f"{name}.png")


def _write(png: bytes, path: Path) -> None:
    """Write a picture with a palette of 256 colours, a third of its size."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Start Chromium and take the pictures."""
    from playwright.sync_api import sync_playwright

    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    with sync_playwright() as started:
        taken(started.chromium.launch(executable_path=found, args=["--no-sandbox"]), FOLDER)


if __name__ == "__main__":
    main()
