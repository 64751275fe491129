"""Find the campaign files and small weights that come with barrage, where no file of that name is in the working directory.

A checkout has them in its folder campaigns/, an installed wheel in pipeline/shipped/campaigns.
"""

from pathlib import Path

FOLDER = "campaigns"
"""What a path begins with, as help texts, pages and campaign files name it: campaigns/demo.yaml."""


def shipped(path: Path) -> Path:
    """Return the shipped file that a path such as campaigns/demo.yaml names, or the path itself where there is none.

    A file in the working directory comes first.
    """
    if path.exists() or path.parts[:1] != (FOLDER,):
        return path
    package = Path(__file__).parents[1]
    found = (place / path for place in (package / "shipped", package.parent))
    return next((file for file in found if file.is_file()), path)
