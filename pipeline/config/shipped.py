"""Find the campaign files and small weights that come with barrage, where no file of that name is in the working directory.

A checkout has them in its folder campaigns/, an installed wheel in pipeline/shipped/campaigns.
"""

import re
from pathlib import Path

FOLDER = "campaigns"
"""What a path begins with, as help texts, pages and campaign files name it: campaigns/demo.yaml."""


def shipped(path: Path) -> Path:
    """Return the shipped file that a path such as campaigns/demo.yaml names, or the path itself where there is none.

    A file in the working directory comes first.
    """
    if path.exists() or path.parts[:1] != (FOLDER,):
        return path
    return next((file for place in _places() if (file := place / path).is_file()), path)


def names(pattern: str, sign: str) -> list[str]:
    """Return the files that came with barrage by the paths that name them, such as campaigns/demo.yaml: those that match a
    `pattern` in that folder, and have a line that begins with the pattern `sign`.
    """
    place = next(place for place in _places() if (place / FOLDER).is_dir())
    found = (file for file in (place / FOLDER).glob(pattern) if re.search(sign, file.read_text(), re.M))
    return sorted(str(file.relative_to(place)) for file in found)


def _places() -> tuple[Path, Path]:
    """Return the folders that may hold the folder of these files: of an installed wheel, and of a checkout."""
    package = Path(__file__).parents[1]
    return package / "shipped", package.parent
