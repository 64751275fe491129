"""A store as one page that opens anywhere: what was run, tables, charts, examples, checks. Reading it fetches nothing."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from pipeline.reports.page.content import Content, gather

_HERE = Path(__file__).parent


def page(content: Content) -> str:
    """The page as HTML."""
    loader = jinja2.FileSystemLoader(_HERE)
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    templates.filters["picture"] = _inlined
    parts: dict[str, Any] = {name: (_HERE / name).read_text() for name in ("page.css", "page.js")}
    return templates.get_template("page.html").render(
        **vars(content), rules=list(content.points["rules"]), css=parts["page.css"], script=parts["page.js"]
    )


def write(store: str, path: Path) -> Content:
    """Writes the page of a store; returns what it shows. Raises BadInput for a store without rows."""
    content = gather(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(content))
    return content


def _inlined(picture: np.ndarray[Any, Any]) -> str:
    """(3, h, w) uint8 as the address of a JPEG that it holds itself: to look at, not to measure."""
    buffer = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
