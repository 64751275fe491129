"""Hold the viewer's page: HTML, styles and scripts that a server or an export hands out. They fetch nothing from elsewhere."""

import json
from pathlib import Path

from pipeline.reports import style

__all__ = ["files"]

_HERE = Path(__file__).parent

_HANDED_OUT = ("index.html", "css/*.css", "scripts/**/*.js", "vendor/*.js", "vendor/LICENSES.txt")


def files(live: bool = True) -> dict[str, bytes]:
    """Return every file of the page, {path relative to the page: content}.

    live  whether the page asks a server for `api/...`; without one it reads `data/*.js`, as scripts/source/static.js says
    """
    paths = [path for pattern in _HANDED_OUT for path in sorted(_HERE.glob(pattern))]
    found = {path.relative_to(_HERE).as_posix(): path.read_bytes() for path in paths}
    if not live:
        found["index.html"] = found["index.html"].replace(b'data-source="live"', b'data-source="static"')
    found["looks.css"] = style.css().encode()
    found["looks.js"] = f"view.looks = {json.dumps(style.for_page())};\n".encode()
    return found
