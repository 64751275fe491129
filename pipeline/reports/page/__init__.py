"""Write a store as one HTML page: what was run, tables, charts, examples, checks. Reading it fetches nothing."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from pipeline import escaped
from pipeline.reports import style
from pipeline.reports.page.content import Content, gather

__all__ = ["Content", "gather", "page", "write"]

_HERE = Path(__file__).parent


def page(content: Content) -> str:
    """Return the page as HTML."""
    loader = jinja2.FileSystemLoader(_HERE)
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    templates.finalize = _seen
    templates.filters["picture"] = _inlined
    css, script = style.css() + (_HERE / "page.css").read_text(), (_HERE / "page.js").read_text()
    return templates.get_template("page.html").render(**vars(content), style=style.for_page(), css=css, script=script)


def write(store: str, path: Path) -> Content:
    """Write the page of a store to `path` and return what it shows. Raises BadInput for a store without rows."""
    content = gather(store)
    path.write_text(page(content))
    return content


def _seen(value: Any) -> Any:
    """Return what a page shows of a value of a template: texts without characters that steer or hide."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return "\n".join(map(escaped.line, value.split("\n"))) if plain else value


def _inlined(picture: np.ndarray[Any, Any]) -> str:
    """Return a picture, (3, h, w) uint8, as a `data:` address that holds it as JPEG, which changes values."""
    buffer = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
