"""Define `barrage gallery`: draw every transform, and a growing barrage, on one photograph."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import answer


def gallery(
    image: Annotated[Path | None, typer.Argument(help="a photograph; default: the astronaut of scikit-image")] = None,
    folder: Annotated[Path, typer.Option(help="where the pictures go")] = Path("gallery"),
) -> None:
    """Draw pictures of every transform and of a growing barrage: barrage gallery photo.jpg"""
    from pipeline.reports.gallery import gallery as draw

    for path in draw(image, folder):
        answer(str(path))
